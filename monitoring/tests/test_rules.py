"""The rules mean what they say: every alert has its page, its test, and metrics that there are; promtool agrees."""

import os
import re
import shutil
import subprocess
from itertools import groupby

import pytest
import yaml

from tests.support import ROOT

PROMETHEUS = ROOT / "monitoring" / "prometheus"
RUNBOOKS = ROOT / "docs" / "runbooks"
GROUPS = yaml.safe_load((PROMETHEUS / "rules" / "alerting.rules").read_text())["groups"]
ALERTS = [rule for group in GROUPS for rule in group["rules"]]
RECORDED = [
    rule
    for group in yaml.safe_load((PROMETHEUS / "rules" / "recording.rules").read_text())["groups"]
    for rule in group["rules"]
]
NAMES = [name for name, _ in groupby(rule["alert"] for rule in ALERTS)]
TESTS = [test for path in (PROMETHEUS / "tests").glob("*.yml") for test in yaml.safe_load(path.read_text())["tests"]]


def promtool(*arguments):
    if shutil.which("promtool") is None:
        reason = "No promtool is installed (Debian: apt-get install prometheus)"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    done = subprocess.run(["promtool", *arguments], cwd=PROMETHEUS, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_both_configurations_and_all_rules_are_valid():
    promtool("check", "config", "prometheus.yml")
    promtool("check", "config", "laptop.yml")


def test_every_alert_is_silent_just_before_its_time_and_fires_at_it():
    promtool("test", "rules", *sorted(str(path) for path in (PROMETHEUS / "tests").glob("*.yml")))


@pytest.mark.parametrize("name", NAMES)
def test_an_alert_has_a_test_of_its_silence_and_of_its_fire(name):
    asked = [
        (bool(case.get("exp_alerts", case.get("exp_samples"))))
        for test in TESTS
        for case in [*test.get("alert_rule_test", []), *test.get("promql_expr_test", [])]
        if case.get("alertname") == name or f'alertname="{name}"' in case.get("expr", "")
    ]
    assert {True, False} <= set(asked)


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_is_wrong_how_bad_it_is_and_where_its_page_is(rule):
    assert set(rule["labels"]) - {"window", "source"} == {"severity", "part"}
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{rule['alert']}.md"
    # A gauge that vanishes with the exporter is no recovery.
    assert ("source" in rule["labels"]) == ("keep_firing_for" in rule)


def test_every_alert_has_its_page_in_the_order_of_the_rules_and_no_other_has():
    index = re.findall(r"^\| \[(\w+)\]\((\w+)\.md\)", (RUNBOOKS / "README.md").read_text(), re.MULTILINE)

    assert index == [(name, name) for name in NAMES]
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == {"README", *NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_runbook_says_what_it_means_whom_it_hurts_where_to_look_what_to_do_and_when_to_be_quiet(name):
    text = (RUNBOOKS / f"{name}.md").read_text()

    headings = re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE)
    assert headings == ["Meaning", "Impact", "Look", "Fix", "Silence"]


def test_every_metric_in_rules_and_runbooks_is_one_of_ours():
    written = [ROOT / "serving" / "metrics.py", *(ROOT / "monitoring" / "exporter").glob("*.py")]
    source = "".join(path.read_text() for path in written)
    declared = set(re.findall(r"\"(boucle_\w+)\"", source))
    distances = re.findall(r"_distance\(\"(\w+)\"", source)
    declared |= {
        f"boucle_{name}_{end}" for name in distances for end in re.findall(r"\"boucle_\{name\}_(\w+)\"", source)
    }
    texts = [*(rule["expr"] for rule in RECORDED), *(str(rule) for rule in ALERTS)]
    pages = [path.read_text() for path in RUNBOOKS.glob("*.md")]
    recorded = {rule["record"] for rule in RECORDED}

    metrics = {
        name if name in declared else re.sub(r"_(bucket|count|sum)$", "", name)
        for name in re.findall(r"\bboucle_\w+", "".join(texts + pages))
    }
    assert metrics <= declared
    assert set(re.findall(r"\bboucle:\w+:\w+", "".join(texts + pages))) <= recorded


def test_on_a_laptop_the_same_is_watched_as_in_docker_but_for_the_host():
    docker, laptop = (yaml.safe_load((PROMETHEUS / name).read_text()) for name in ("prometheus.yml", "laptop.yml"))
    jobs, fewer = ([job["job_name"] for job in file["scrape_configs"]] for file in (docker, laptop))

    assert (docker["global"], docker["rule_files"]) == (laptop["global"], laptop["rule_files"])
    assert fewer == [job for job in jobs if job not in {"node-exporter", "cadvisor"}]


def test_what_is_held_back_is_an_alert_that_there_is():
    alertmanager = (ROOT / "monitoring" / "alertmanager" / "alertmanager.yml").read_text()
    named = re.findall(r'alertname!?=~?"([\w|]+)"', alertmanager)

    assert {name for names in named for name in names.split("|")} <= set(NAMES)
