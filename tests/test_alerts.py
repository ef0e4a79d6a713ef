"""From a dead process to a message: a real API, Prometheus and Alertmanager, as `make monitor` starts them."""

import os
import shutil
import signal
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
import requests

from tests.receivers import mail_server, slack
from tests.support import ROOT, free_port, kill, process, serving, wait_for

MONITOR = [str(ROOT / "scripts" / "monitor.sh")]
PROGRAMS = ("prometheus", "prometheus-alertmanager", "amtool")
KNOBS = ("SLACK_", "SMTP_", "ALERT_", "REPOSITORY_URL", "GRAFANA_URL")
USER, PASSWORD = "boucle", "pass word & more"  # pragma: allowlist secret (of the sink in this test)


@pytest.fixture(autouse=True)
def programs():
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        reason = f"{', '.join(missing)} not installed (Debian: apt-get install prometheus prometheus-alertmanager)"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


@dataclass(frozen=True)
class Monitor:
    """Prometheus and Alertmanager of a test."""

    process: subprocess.Popen
    log: Path
    prometheus: str
    alertmanager: str

    def post(self, *alerts: dict) -> None:
        """Tell Alertmanager of alerts, as Prometheus does; they end in ten minutes."""
        now = datetime.now(UTC).isoformat()
        body = [
            {"startsAt": now, "generatorURL": "http://localhost:9090/graph?g0.expr=up&g0.tab=1", **alert}
            for alert in alerts
        ]
        requests.post(f"{self.alertmanager}/api/v2/alerts", json=body, timeout=5).raise_for_status()

    def states(self) -> dict[str, str]:
        """Of each alert that Alertmanager knows: active, or suppressed."""
        known = requests.get(f"{self.alertmanager}/api/v2/alerts", timeout=5).json()
        return {alert["labels"]["alertname"]: alert["status"]["state"] for alert in known}

    def receivers(self) -> set[str]:
        return {one["name"] for one in requests.get(f"{self.alertmanager}/api/v2/receivers", timeout=5).json()}


def environment_of(home, **environment):
    clean = {name: value for name, value in home.environment().items() if not name.startswith(KNOBS)}
    ports = {f"{name}_PORT": str(free_port()) for name in ("PROMETHEUS", "ALERTMANAGER", "SERVING", "EXPORTER")}
    secrets = home.folder / "secrets"
    secrets.mkdir(exist_ok=True)
    path = f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"
    return {**clean, **ports, "ALERT_SECRETS": str(secrets), "PATH": path, **environment}


@contextmanager
def monitoring(home, environment, command=MONITOR):
    log = home.folder / "monitor.log"
    with log.open("wb") as output:
        started = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    urls = [f"http://127.0.0.1:{environment[f'{name}_PORT']}" for name in ("PROMETHEUS", "ALERTMANAGER")]
    try:
        for url in urls:
            wait_for(lambda url=url: is_ready(url), f"{url}: {log}")
        yield Monitor(started, log, *urls)
    finally:
        if started.poll() is None:
            os.killpg(started.pid, signal.SIGINT)
            try:
                started.wait(20)
            except subprocess.TimeoutExpired:
                kill(started)


def is_ready(url):
    try:
        return requests.get(f"{url}/-/ready", timeout=2).ok
    except requests.ConnectionError:
        return False


@contextmanager
def switched_on(home, **environment):
    """The environment in which Slack and mail are on, and both."""
    with slack() as webhook, mail_server(USER, PASSWORD) as mail:
        mailing = {"SMTP_SMARTHOST": mail.address, "SMTP_USERNAME": USER, "SMTP_REQUIRE_TLS": "false"}
        addresses = {"ALERT_MAIL_FROM": "boucle@example.org", "ALERT_MAIL_TO": "ops@example.org"}
        given = environment_of(home, **mailing, **addresses, **environment)
        (Path(given["ALERT_SECRETS"]) / "slack_webhook_url").write_text(f"{webhook.url}\n")
        (Path(given["ALERT_SECRETS"]) / "smtp_password").write_text(f"{PASSWORD}\n")
        yield given, webhook, mail


def part(mail, kind):
    return next(one for one in mail.walk() if one.get_content_type() == kind).get_content()


def test_a_killed_api_is_told_to_slack_and_by_mail_and_so_is_its_return(home):
    with switched_on(home) as (environment, webhook, mail):
        ports = {name: environment[name] for name in ("SERVING_PORT", "EXPORTER_PORT")}
        with (
            process(["-m", "monitoring.exporter"], home.environment(**ports), home.folder / "exporter.log"),
            monitoring(home, environment) as monitor,
        ):
            with process(["-m", "serving"], home.environment(**ports), home.folder / "serving.log") as api:
                up = {"query": 'sum(up{job=~"serving-api|exporter"})'}

                def both_answer():
                    answer = requests.get(f"{monitor.prometheus}/api/v1/query", params=up, timeout=5).json()
                    return [sample["value"][1] for sample in answer["data"]["result"]] == ["2"]

                wait_for(both_answer, "Prometheus to see both")
                assert webhook.posted == []

                kill(api)
                wait_for(lambda: webhook.posted and mail.received, f"the messages: {monitor.log}", 90)

            with serving(home, port=int(ports["SERVING_PORT"])):
                wait_for(lambda: len(webhook.posted) > 1 and len(mail.received) > 1, "the good news", 90)

    wrong, right = "[PAGE] ApiDown: The API does not answer", "[RESOLVED] ApiDown: The API does not answer"
    assert webhook.titles() == mail.subjects() == [wrong, right]
    [attachment] = webhook.posted[0]["attachments"]
    assert "nobody gets a prediction" in attachment["text"]  # how bad
    assert "start it again" in attachment["text"]  # what to do
    assert "docs/runbooks/ApiDown.md" in attachment["text"]
    assert f"<http://localhost:{environment['PROMETHEUS_PORT']}/graph?" in attachment["text"]
    assert mail.received[0]["To"] == "ops@example.org"
    for kind in ("text/plain", "text/html"):
        assert "start it again" in part(mail.received[0], kind)
        assert "Over: The API does not answer" in part(mail.received[1], kind)


def test_a_drift_is_told_to_slack_with_the_columns_that_moved_and_how_far(home):
    moved = [{name: value * 3 for name, value in record.items()} for record in home.preparation.test_records]
    with switched_on(home) as (environment, webhook, mail):
        ports = {name: environment[name] for name in ("SERVING_PORT", "EXPORTER_PORT")}
        with (
            serving(home, port=int(ports["SERVING_PORT"])) as api,
            process(["-m", "monitoring.exporter"], home.environment(**ports), home.folder / "exporter.log"),
            monitoring(home, environment) as monitor,
        ):
            requests.post(f"{api}/predict/batch", json=moved, timeout=30).raise_for_status()

            def told():
                found = [
                    one["attachments"][0] for one in webhook.posted if "DataDrift" in one["attachments"][0]["title"]
                ]
                return found and found[0]

            message = wait_for(told, f"the message: {monitor.log}", 90)

    assert message["title"] == "[TICKET] DataDrift: 100% of the columns have drifted"
    assert sum(f"{column} moved by" in message["text"] for column in moved[0]) == 3
    assert not [title for title in webhook.titles() if "JointDrift" in title]  # DataDrift says it in more detail
    assert not [subject for subject in mail.subjects() if "DataDrift" in subject]  # a ticket


def test_with_nothing_switched_on_it_starts_notifies_nobody_and_says_so(home):
    environment = environment_of(home)

    with monitoring(home, environment) as monitor:
        monitor.post({"labels": {"alertname": "ApiDown", "severity": "page", "part": "serving"}})
        wait_for(lambda: monitor.states() == {"ApiDown": "active"}, "the alert")
        said = subprocess.run(
            [ROOT / "scripts" / "alerts.sh", "list"], env=environment, capture_output=True, text=True, check=True
        )
        metrics = requests.get(f"{monitor.alertmanager}/metrics", timeout=5).text
        receivers = monitor.receivers()

    assert receivers == {"page: nobody, see docs/alerts.md", "ticket: nobody, see docs/alerts.md"}
    assert "NOBODY IS NOTIFIED" in monitor.log.read_text()
    assert "page: nobody" in said.stdout
    assert "ApiDown" in said.stdout
    assert "alertmanager_integrations 0" in metrics


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ({"ALERT_MAIL_TO": "ops@example.org"}, "ALERT_MAIL_TO is set, SMTP_SMARTHOST is not"),
        ({"SMTP_SMARTHOST": "mail:25"}, "SMTP_SMARTHOST is set, ALERT_MAIL_TO is not"),
        ({"SMTP_USERNAME": "me"}, "secrets/alertmanager/smtp_password is missing or empty"),
        ({"SLACK_CHANNEL": "#alerts"}, "secrets/alertmanager/slack_webhook_url is missing or empty"),
        ({"REPOSITORY_URL": 'a"b'}, "REPOSITORY_URL may not hold quotes"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_switched_on_by_half_stops_the_start_with_one_line(home, setting, complaint):
    environment = environment_of(home, ALERTMANAGER_CONFIG=str(home.folder / "config"), **setting)

    start = [ROOT / "monitoring" / "alertmanager" / "start.sh", "false"]
    refused = subprocess.run(start, env=environment, capture_output=True, text=True, check=False)

    assert refused.returncode == 1
    assert refused.stderr.startswith("alerts: ")
    assert complaint in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


@pytest.mark.parametrize("on", [set(), {"slack"}, {"mail"}, {"slack", "mail"}], ids=lambda on: "+".join(sorted(on)))
def test_every_combination_is_valid_and_holds_no_secret(home, on):
    environment = environment_of(home, ALERTMANAGER_CONFIG=str(home.folder / "config"))
    secrets = Path(environment["ALERT_SECRETS"])
    if "slack" in on:
        (secrets / "slack_webhook_url").write_text("https://hooks.slack.com/services/T/B/secret")
    if "mail" in on:
        (secrets / "smtp_password").write_text(PASSWORD)
        environment |= {
            "SMTP_SMARTHOST": "mail:25",
            "SMTP_USERNAME": "me",
            "ALERT_MAIL_TO": "a@example.org, b@example.org",
        }
    written = home.folder / "config" / "alertmanager.yml"

    command = [ROOT / "monitoring" / "alertmanager" / "start.sh", "amtool", "check-config", written]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "hooks.slack.com" not in written.read_text()
    assert PASSWORD not in written.read_text()
    assert ("slack_configs" in written.read_text()) == ("slack" in on)
    assert ("email_configs" in written.read_text()) == ("mail" in on)


def test_a_message_is_escaped_for_slack_and_for_html_and_links_the_runbook(home):
    summary = 'mean <radius> & "area": 40% of it'
    links = {
        "REPOSITORY_URL": "https://git.example.org/us/boucle/blob/main?a=1&b=2",
        "GRAFANA_URL": "http://localhost:3000",
    }
    with switched_on(home, **links) as (environment, webhook, mail), monitoring(home, environment) as monitor:
        annotations = {
            "summary": summary,
            "description": "<script>alert(1)</script>",
            "runbook_url": "docs/runbooks/X.md",
        }
        labels = {"alertname": "X", "severity": "page", "part": "data"}
        monitor.post(*({"labels": {**labels, "column": column}, "annotations": annotations} for column in "abcdefg"))
        wait_for(lambda: webhook.posted and mail.received, f"the messages: {monitor.log}")

    [attachment] = webhook.posted[0]["attachments"]
    assert attachment["title"] == '[PAGE] X: mean &lt;radius&gt; &amp; "area": 40% of it'
    assert "&lt;script&gt;" in attachment["text"]
    assert attachment["text"].count("mean &lt;radius&gt;") == 5  # one message, and not a page for each column
    assert "7 in all" in attachment["text"]
    assert "<https://git.example.org/us/boucle/blob/main?a=1&b=2/docs/runbooks/X.md|Runbook>" in attachment["text"]
    assert "<http://localhost:3000/d/boucle-stack|Grafana>" in attachment["text"]
    assert mail.subjects() == [f"[PAGE] X: {summary}"]
    html = part(mail.received[0], "text/html")
    assert "<script>" not in html
    assert "mean &lt;radius&gt; &amp;" in html
    assert 'href="https://git.example.org/us/boucle/blob/main?a=1&amp;b=2/docs/runbooks/X.md"' in html
    assert "7 in all" in html
    assert "ZgotmplZ" not in html  # what Go writes where it does not trust a value
    assert summary in part(mail.received[0], "text/plain")


def test_a_consequence_is_held_back_and_a_ticket_goes_to_slack_alone(home):
    def alert(name, severity, part, **labels):
        return {
            "labels": {"alertname": name, "severity": severity, "part": part, **labels},
            "annotations": {"summary": name},
        }

    with switched_on(home) as (environment, webhook, mail), monitoring(home, environment) as monitor:
        monitor.post(
            alert("ApiDown", "page", "serving"),
            alert("LatencyHigh", "ticket", "serving"),
            alert("ErrorBudgetBurn", "page", "serving", window="1h"),
            alert("NoFeedback", "ticket", "data", source="exporter"),
            alert("ScrapeMissing", "page", "monitoring", job="serving-api"),
            alert("DiskFilling", "ticket", "host", folder="data"),
        )
        wait_for(lambda: len(webhook.posted) == 2 and mail.received, f"the messages: {monitor.log}")
        first = monitor.states()
        monitor.post(
            alert("ExporterDown", "ticket", "monitoring"),
            alert("DataDrift", "ticket", "data", source="exporter"),
            alert("QualityFallen", "page", "model", source="exporter"),
        )
        wait_for(lambda: len(webhook.posted) == 3, f"the third message: {monitor.log}")
        second = monitor.states()

    active = {"ApiDown", "DiskFilling"}
    assert {name for name, state in first.items() if state == "active"} == active
    assert {name for name, state in second.items() if state == "active"} == active | {"ExporterDown"}
    assert sorted(webhook.titles()) == [
        "[PAGE] ApiDown: ApiDown",
        "[TICKET] DiskFilling: DiskFilling",
        "[TICKET] ExporterDown: ExporterDown",
    ]
    assert mail.subjects() == ["[PAGE] ApiDown: ApiDown"]


def test_make_monitor_watches_what_make_run_runs_and_ctrl_c_stops_both(home):
    environment = environment_of(home)
    with monitoring(home, environment, ["make", "monitor"]) as monitor:

        def targets():
            found = requests.get(f"{monitor.prometheus}/api/v1/targets", timeout=5).json()["data"]["activeTargets"]
            return {target["labels"]["job"]: target["labels"]["instance"].split(":")[1] for target in found}

        wait_for(targets, "the targets")
        assert targets() == {
            "prometheus": environment["PROMETHEUS_PORT"],
            "alertmanager": environment["ALERTMANAGER_PORT"],
            "serving-api": environment["SERVING_PORT"],
            "exporter": environment["EXPORTER_PORT"],
        }
        groups = requests.get(f"{monitor.prometheus}/api/v1/rules?type=alert", timeout=5).json()["data"]["groups"]
        assert sum(len(group["rules"]) for group in groups) > 20
        found = requests.get(f"{monitor.prometheus}/api/v1/alertmanagers", timeout=5).json()["data"]
        assert len(found["activeAlertmanagers"]) == 1

        again = subprocess.run(MONITOR, env=environment, capture_output=True, text=True, check=False)
        assert again.returncode == 1
        assert f"port {environment['PROMETHEUS_PORT']} (prometheus) is in use" in again.stderr

        everything = psutil.Process(monitor.process.pid).children(recursive=True)
        os.killpg(monitor.process.pid, signal.SIGINT)
        monitor.process.wait(20)
        _, alive = psutil.wait_procs(everything, timeout=10)
        assert alive == []


def test_without_the_programs_it_says_what_to_install(home, tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "dirname"):
        (programs / name).symlink_to(shutil.which(name))

    refused = subprocess.run(
        MONITOR, env={**environment_of(home), "PATH": str(programs)}, capture_output=True, text=True, check=False
    )

    assert refused.returncode == 1
    assert "apt-get install prometheus prometheus-alertmanager" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
