"""The pipelines: what a failure leaves, how the next run goes on, and that CI servers call what there is."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from xml.etree import ElementTree

import pytest
import yaml

from scripts.audit import verdict as audit_verdict
from tests.support import ROOT, serving, wait_for

MAKEFILE = """
collect: ; @test -e collected && echo nothing new || { touch collected; echo collected; }
check: ; @echo looking; test -e mended || { printf 'disk full\\x1b[0m\\n'; exit 3; }
tell: ; @echo told
wait: ; @touch waiting; sleep 60
notify: ; @echo "$$TITLE | $$TEXT | $$STATUS" >>notified
"""

JENKINSFILES = [ROOT / "Jenkinsfile", *sorted((ROOT / "jenkins").glob("*.Jenkinsfile"))]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
# What a pipeline is given beside its parameters.
GIVEN = {"BUILD_URL": "https://ci.example.org/1", "STEP": "lint", "DOCUMENTS": "500", "K": "20", "STRATEGY": "scratch"}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "Makefile").write_text(MAKEFILE)
    return tmp_path


def command(*arguments):
    return [sys.executable, "-m", "scripts.pipelines", *arguments]


def environment():
    return {**{name: value for name, value in os.environ.items() if "MAKE" not in name}, "PYTHONPATH": str(ROOT)}


def run(folder, *arguments):
    return subprocess.run(
        command(*arguments), cwd=folder, env=environment(), capture_output=True, text=True, check=False, timeout=60
    )


def became(folder, pipeline="data"):
    content = json.loads((folder / "build" / "pipelines" / f"{pipeline}.json").read_text())
    return {step["name"]: step["state"] for step in content["steps"]}


def test_a_step_that_fails_is_named_to_people_and_to_the_ci_server(folder):
    done = run(folder, "data", "collect", "check", "tell")

    assert done.returncode == 1
    assert "data: FAILED at check" in done.stdout
    assert became(folder) == {"collect": "passed", "check": "failed", "tell": "not run"}
    suite = ElementTree.parse(folder / "build" / "pipelines" / "data.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "1", "1")
    assert "disk full" in suite.find("./testcase[@name='check']/failure").text
    title, text, status = (folder / "notified").read_text().strip().split(" | ")
    assert (title, status) == ("Boucle data: failed", "failed")
    assert "FAILED at check" in text
    assert "passed before it: collect" in text


def test_the_next_run_goes_on_and_does_nothing_twice(folder):
    run(folder, "data", "collect", "check", "tell")
    (folder / "mended").touch()

    done = run(folder, "data", "collect", "check", "tell")

    assert done.returncode == 0
    assert "nothing new" in done.stdout
    assert set(became(folder).values()) == {"passed"}
    assert (folder / "notified").read_text().splitlines()[-1].startswith("Boucle data: ok | data: all passed")


def test_a_pipeline_can_begin_at_a_step(folder):
    (folder / "mended").touch()

    done = run(folder, "data", "collect", "check", "tell", "--from", "check")

    assert done.returncode == 0
    assert became(folder) == {"check": "passed", "tell": "passed"}


def test_a_step_that_there_is_not_is_a_usage_error(folder):
    done = run(folder, "data", "collect", "--from", "colect")

    assert done.returncode == 2
    assert "there is no step colect; there are collect" in done.stderr


def test_where_nobody_can_be_told_the_pipeline_passes_all_the_same(folder):
    (folder / "Makefile").write_text(MAKEFILE.replace("notify:", "silence:"))

    assert run(folder, "data", "collect").returncode == 0


def test_a_build_that_is_aborted_says_where(folder):
    started = subprocess.Popen(command("data", "collect", "wait"), cwd=folder, env=environment())
    wait_for((folder / "waiting").exists, "the step that waits")

    started.send_signal(signal.SIGTERM)

    assert started.wait(30) == 1
    assert became(folder) == {"collect": "passed", "wait": "failed"}


def steps_of(pipeline):
    line = re.search(rf"^\t\$\(PIPELINE\) {pipeline} (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return re.sub(r"\$\(\w+\)", "", line[1]).split()


def commands():
    """Every command that a CI server or a git hook runs and that calls make, with the file that says so."""
    for path in JENKINSFILES:
        for said in re.findall(r"\bsh '([^']+)'", path.read_text()):
            yield path.name, said
    for path in WORKFLOWS:
        for job in yaml.safe_load(path.read_text())["jobs"].values():
            yield from ((path.name, step["run"]) for step in job["steps"] if "run" in step)
    for hook in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]:
        yield "hooks", hook["entry"]


MADE = sorted({(name, said) for name, said in commands() if re.search(r"\bmake\b", said)})


@pytest.mark.parametrize(("name", "said"), MADE, ids=[f"{name}: {said[:40]}" for name, said in MADE])
def test_every_command_of_a_ci_server_is_one_that_make_would_carry_out(name, said):
    # The very command, in a shell, as if nothing had run before it; make says what it would do.
    rehearsed = re.sub(r"\bmake\b", "make --dry-run INSTALLED=", re.sub(r"^test -e \S+ \|\| ", "", said))

    done = subprocess.run(
        ["bash", "-c", rehearsed], cwd=ROOT, env=environment() | GIVEN, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("pipeline", ["data", "training", "code"])
def test_each_step_of_a_pipeline_is_a_target(pipeline):
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(steps_of(pipeline)) <= targets


def test_jenkins_and_github_take_every_step_of_the_code_pipeline():
    steps = set(steps_of("code"))
    jenkins = set(re.findall(r"sh 'make ([a-z-]+)", (ROOT / "Jenkinsfile").read_text()))
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "code.yml").read_text())["jobs"]
    github = set(jobs["check"]["strategy"]["matrix"]["step"])
    github |= set(re.findall(r"make ([a-z-]+)", " ".join(str(job["steps"]) for job in jobs.values())))

    assert steps <= jenkins
    assert steps <= github


def test_k_and_strategies_of_one_run_are_what_project_toml_would_say():
    show = "--eval=show: ; @echo $$BOUCLE__FEEDBACK__K $$BOUCLE__TRAINING__STRATEGIES"

    said = subprocess.run(
        ["make", "--no-print-directory", show, "show", "K=20", "STRATEGY=scratch,window"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert said == '20 ["scratch","window"]\n'


def test_documents_are_a_limit_for_the_sources_which_are_collected_where_there_are_any(tmp_path):
    project = tmp_path / "project.toml"
    project.write_text('[data]\n[[etl.sources]]\nname = "seasons"\n')
    show = "--eval=show: ; @echo $(ETL) $(OPTIONS)"

    said = [
        subprocess.run(
            ["make", "--no-print-directory", show, "show", "LIMIT=500"],
            cwd=ROOT,
            env={**environment(), "BOUCLE_PROJECT": str(path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for path in (project, ROOT / "none.toml")
    ]

    assert said == ["etl --limit 500\n", "--limit 500\n"]


def test_data_and_training_run_for_real_one_after_the_other(home):
    shutil.rmtree(home.places.artifacts)
    for pipeline in ("data", "training"):
        done = subprocess.run(
            ["make", "--no-print-directory", "INSTALLED=", f"PYTHONPATH={ROOT}:{ROOT / 'scripts'}", pipeline],
            cwd=ROOT,
            env={**environment(), **home.environment(), "SERVING_URL": "http://127.0.0.1:9"},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

        assert done.returncode == 0, done.stdout + done.stderr
        assert set(became(ROOT, pipeline).values()) == {"passed"}
    assert home.artifacts.champion_version() == "v1"
    assert re.search(r"smoke +v1 predicts (benign|malignant)", done.stdout)


def smoke(home, **more):
    return subprocess.run(
        ["bash", str(ROOT / "scripts" / "smoke-local.sh")],
        env={**home.environment(**more), "PYTHONPATH": f"{ROOT}:{ROOT / 'scripts'}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_running_api_is_asked_where_there_is_one(home):
    with serving(home, workers=1) as url:
        done = smoke(home, SERVING_URL=url)

    assert done.returncode == 0, done.stderr
    assert re.fullmatch(rf"smoke +v1 predicts \w+, at {url}\n", done.stdout)


def test_without_a_champion_the_smoke_test_says_what_to_do(home):
    shutil.rmtree(home.places.artifacts)

    done = smoke(home)

    assert done.returncode == 1
    assert done.stderr.endswith("holds no champion; run make train\n")


def test_jenkins_has_no_password_but_the_generated_one():
    configuration = yaml.safe_load((ROOT / "jenkins" / "jenkins.yaml").read_text())
    (user,) = configuration["jenkins"]["securityRealm"]["local"]["users"]

    assert user["password"] == "${readFile:/run/secrets/jenkins_password}"
    assert not configuration["jenkins"]["authorizationStrategy"]["loggedInUsersCanDoAnything"]["allowAnonymousRead"]
    assert "jenkins_password" in (ROOT / "scripts" / "secrets.sh").read_text()


def test_the_jobs_of_jenkins_are_the_pipelines_that_there_are():
    jobs = (ROOT / "jenkins" / "jobs.groovy").read_text()
    named = re.findall(r"'((?:jenkins/\w+\.)?Jenkinsfile)'", jobs)

    assert {ROOT / name for name in named} == set(JENKINSFILES)
    own = "".join(path.read_text() for path in JENKINSFILES)
    assert sorted(re.findall(r"(?:cron|pollSCM)\('(.+)'\)", own)) == sorted(re.findall(r"'(H\S* .+?)'", jobs))


def test_the_audit_fails_only_on_a_vulnerability_that_is_known():
    hole = {"id": "CVE-1", "fix_versions": ["2.0"]}
    known = {"name": "left-pad", "version": "1.0", "vulns": [hole]}
    unknown = {"name": "right-pad", "skip_reason": "not found"}

    def say(*dependencies):
        return audit_verdict(json.dumps({"dependencies": dependencies}), "")

    assert say(known, unknown) == (
        1,
        ["left-pad 1.0: CVE-1, mended in 2.0", "1 packages audited, 1 vulnerabilities"],
    )
    assert say({**known, "vulns": []}) == (0, ["1 packages audited, 0 vulnerabilities"])
    assert say(unknown) == (0, ["NOT AUDITED: the package index of this machine has no advisories"])
    assert audit_verdict("", "ConnectionError: no route") == (
        0,
        ["NOT AUDITED: no advisories to be had (ConnectionError: no route)"],
    )
