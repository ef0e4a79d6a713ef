"""What README promises of Docker Compose, on the real stack. The tests build on each other, in this order."""

import json
import os
import subprocess
import threading
import time

import numpy as np
import pandas as pd
import pytest
import requests
from playwright.sync_api import expect

from boucle.demo import draw
from tests.e2e.stack import NAME, Feedback, load, output
from tests.support import ROOT, wait_for

K = 100
KILL_SECONDS = float(os.environ.get("E2E_KILL_SECONDS", "30"))
WITHOUT = os.environ.get("WITHOUT", "").split()
PYTHON_SERVICES = ["serving-api", "trainer", "webapp", "reporting", "mlflow", "exporter"]
SERVICES = [*PYTHON_SERVICES, "postgres", "prometheus", "alertmanager", "grafana"]
RUNNING = [service for service in SERVICES if service not in WITHOUT]


def generated(stack):
    return [path for path in (stack.folder / "secrets").iterdir() if path.is_file()]


def photograph(page, name):
    page.wait_for_timeout(1000)
    page.screenshot(path=ROOT / "screenshots" / f"e2e-{name}.png")


def test_a_prediction_works_as_soon_as_make_up_returns(stack):
    answer = requests.post(f"{stack.api}/predict", json=stack.preparation.test_records[0], timeout=30)

    assert answer.status_code == 200
    assert answer.json()["model_version"] == "v1"
    states = {service: stack.inspect(service)["State"] for service in RUNNING}
    assert {service: state["Health"]["Status"] for service, state in states.items()} == dict.fromkeys(
        RUNNING, "healthy"
    )
    prepared = stack.inspect("prepare")["State"]
    assert (prepared["Status"], prepared["ExitCode"]) == ("exited", 0)
    wait_for(lambda: stack.mlflow_champion() == "v1", "the first version in MLflow")


@pytest.mark.parametrize("service", [*RUNNING, "prepare"])
def test_a_container_may_do_no_more_than_it_must(stack, service):
    container = stack.inspect(service)
    host = container["HostConfig"]

    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["Memory"] > 0
    assert host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}
    assert host["RestartPolicy"]["Name"] == ("no" if service == "prepare" else "unless-stopped")
    bindings = [binding for bound in (host["PortBindings"] or {}).values() for binding in bound]
    assert all(binding["HostIp"] == "127.0.0.1" for binding in bindings)
    for secret in generated(stack):
        assert secret.read_text() not in json.dumps(container)
    if service != "prepare":
        who = output("docker", "exec", stack.container(service), "id", "-u").strip()
        assert who != "0"
        assert container["Config"]["Healthcheck"]["Test"][0] == "CMD"
        assert not any(
            name.startswith(".git") for name in output("docker", "exec", container["Id"], "ls", "-a").split()
        )


def test_a_password_is_generated_and_nobody_else_can_look_for_it(stack):
    secrets = stack.folder / "secrets"

    assert secrets.stat().st_mode & 0o777 == 0o700
    assert {len(secret.read_text()) for secret in generated(stack)} == {48}
    assert len({secret.read_text() for secret in generated(stack)}) == len(generated(stack)) == 3
    refused = stack.run(
        *("docker", "compose", "exec", "-T", "-e", "PGPASSWORD=boucle", "postgres"),
        *("psql", "--host=127.0.0.1", "--username=boucle", "--command=SELECT 1"),
        check=False,
    )
    assert "password authentication failed" in refused.stdout


@pytest.mark.parametrize("service", PYTHON_SERVICES)
def test_an_image_holds_only_what_its_service_needs(stack, service):
    image = stack.inspect(service)["Image"]
    wanted = {"serving-api": "sklearn", "exporter": "sklearn", "trainer": "skops"}.get(service)
    unwanted = {
        "serving-api": ["mlflow", "streamlit", "evidently"],
        "trainer": ["flask", "fastapi_swagger", "streamlit", "evidently"],
        "webapp": ["sklearn", "scipy", "mlflow", "evidently", "sqlalchemy", "boucle"],
        "reporting": ["mlflow", "streamlit", "boucle"],
        "mlflow": ["streamlit", "evidently", "boucle"],
        "exporter": ["mlflow", "streamlit", "evidently", "fastapi"],
    }[service]
    code = f"""
import importlib.util, shutil
found = [name for name in {unwanted} + ["pytest", "ruff", "uv"] if importlib.util.find_spec(name)]
found += [name for name in ("gcc", "cc", "make", "uv") if shutil.which(name)]
assert not found, found
assert {wanted!r} is None or importlib.util.find_spec({wanted!r})
"""
    # Not in /app, where the folders of the services are packages.
    output("docker", "run", "--rm", "--workdir", "/", "--env", "PYTHONPATH=", image, "python", "-c", code)


def test_the_loop_closes_in_the_browser_under_load(stack, page):
    records, labels = draw(stack.preparation, K, 0.15, np.random.default_rng(0))
    upload = stack.folder / "patients.csv"
    pd.DataFrame(records).assign(diagnosis=labels).to_csv(upload, index=False)

    with load(stack) as running:
        page.goto(f"{stack.url('webapp')}/batch")
        page.locator(".st-key-upload input[type=file]").set_input_files(upload)
        page.locator(".st-key-predict_batch button").click()
        expect(page.locator(".st-key-summary")).to_contain_text(str(K))
        page.locator(".st-key-send_batch_feedback button").click()
        expect(page.locator(".st-key-batch_receipt")).to_be_visible()
        expect(page.locator(".st-key-status_version")).to_contain_text("v2", timeout=180_000)
        expect(page.locator(".st-key-takeover")).to_contain_text("v2 took over from v1")
        page.get_by_role("link", name="Loop").click()
        expect(page.get_by_text("Training runs")).to_be_visible()
        photograph(page, "webapp")
        wait_for(lambda: stack.mlflow_champion() == "v2", "v2 in MLflow", 120)
        wait_for(lambda: stack.prometheus('boucle_champion_info{version="v2"} == 1'), "v2 in Prometheus", 60)
        time.sleep(2)

    # No request failed, and every replica answered with the new version within 2 s of its promotion.
    assert running.failures == []
    models = stack.get("/models")
    promoted_at = pd.Timestamp(models["promoted_at"]).timestamp()
    late = [began for began, _, answer in running.answers if answer["model_version"] == "v1"]
    assert {answer["model_version"] for _, _, answer in running.answers} == {"v1", "v2"}
    assert max(late) - promoted_at < 2
    # The trainer's container did it.
    assert "verdict=promoted version=v2" in stack.compose("logs", "trainer")
    assert [(run["state"], run["verdict"]) for run in stack.get("/retrain")["runs"]] == [("finished", "promoted")]
    # Every database and file tells the same story.
    assert len(stack.prod_rows) == K
    assert stack.sql("SELECT count(*) FROM feedback") == str(K)
    [sample] = stack.prometheus("boucle_feedback_rows")
    assert sample["value"][1] == str(K)
    assert stack.prometheus('sum(boucle_predictions_total{model_version="v2"}) > 0')
    page.goto(f"{stack.url('mlflow')}/#/models/breast-cancer")
    expect(page.get_by_text("champion").first).to_be_visible()
    photograph(page, "mlflow")
    wait_for(lambda: list((stack.folder / "data" / "reports").rglob("*.json")), "a report")
    page.goto(stack.url("reporting"))
    expect(page.get_by_text("Boucle").first).to_be_visible()
    photograph(page, "reporting")


def test_the_folders_show_the_files_and_belong_to_the_user_who_started_the_stack(stack):
    knobs = dict(line.split("=", 1) for line in (stack.folder / ".env").read_text().split())
    user = os.getuid() or int(knobs["BOUCLE_UID"])

    names = {"data/ref_data.csv", "data/prod_data.csv", "artifacts/v1/manifest.json", "artifacts/v2/model.pkl"}
    written = [path for folder in ("data", "artifacts") for path in (stack.folder / folder).rglob("*")]

    assert names <= {str(path.relative_to(stack.folder)) for path in written}
    assert {path.stat().st_uid for path in written} == {user}
    assert all(path.read_bytes() for path in written if path.name in ("ref_data.csv", "prod_data.csv", "model.pkl"))


SOURCE = """
[[etl.sources]]
name = "flowers"
kind = "files"
path = "data/drop/*.csv"
key = ["id"]
columns = [
    { name = "id", type = "integer" },
    { name = "petal", type = "number", minimum = 0.0 },
    { name = "kind", type = "text", categories = ["rose", "tulip"] },
]
"""


def test_rows_are_collected_in_the_stack_and_prepare_reads_them_in_postgresql(stack):
    def flowers(first, last):
        return [{"id": i, "petal": i % 7 + i % 2, "kind": ["rose", "tulip"][i % 2]} for i in range(first, last)]

    project, drop = stack.folder / "project.toml", stack.folder / "data" / "drop"
    project.write_text(project.read_text() + SOURCE)
    drop.mkdir()
    wrong = [{"id": 60, "petal": -1, "kind": "rose"}, {"id": 61, "petal": 1, "kind": "oak"}]
    pd.DataFrame([*flowers(0, 60), *wrong]).to_csv(drop / "a.csv", index=False)

    said = stack.make("stack-etl")

    assert "62 rows of data/drop/a.csv: 60 loaded, 2 in quarantine" in said
    reasons = stack.sql("SELECT reason FROM warehouse.quarantine ORDER BY row").splitlines()
    assert reasons == ["petal: -1 is below 0.0", "kind: oak is none of rose, tulip"]
    pd.DataFrame(flowers(50, 90)).to_csv(drop / "b.csv", index=False)
    assert "10 rows of data/drop/b.csv" in stack.make("stack-etl", OPTIONS="--limit 10")
    stack.make("stack-etl")
    batches = stack.sql("SELECT rows, loaded, quarantined, superseded FROM warehouse.etl_batches ORDER BY number")
    assert batches.splitlines() == ["62|60|2|0", "10|10|0|10", "30|30|0|0"]
    assert stack.sql("SELECT count(*), count(DISTINCT id), max(id) FROM warehouse.flowers") == "90|90|89"

    # In a folder of its own, where there is no DuckDB file to read.
    trial = {"DATA__SOURCE": "warehouse:flowers", "DATA__TARGET": "kind", "DATA__DROP": '["id"]'}
    given = [f"--env=BOUCLE__{name}={value}" for name, value in trial.items()]
    stack.compose("run", "--rm", "--env=BOUCLE_DATA=/app/data/trial", *given, "prepare", "boucle", "prepare")
    reference = pd.read_csv(stack.folder / "data" / "trial" / "ref_data.csv")
    assert set(reference["target"]) == {"rose", "tulip"}
    assert len(reference) == 72
    quarantined = 'boucle_etl_rows{source="flowers", outcome="quarantined"}'
    wait_for(lambda: [one["value"][1] for one in stack.prometheus(quarantined)] == ["2"], "the loads in Prometheus", 60)


def test_a_promotion_by_hand_reaches_every_replica_within_two_seconds(stack):
    # A second container of serving, as another host would run it: the same store, the same artifacts.
    stack.compose("run", "--detach", "--use-aliases", "--no-deps", "--name", f"{NAME}-second", "serving-api")
    try:
        second = f"http://{stack.address(f'{NAME}-second')}:8080"
        first = f"http://{stack.address(stack.container('serving-api'))}:8080"

        def version(url):
            return requests.post(f"{url}/predict", json=record, timeout=10).json()["model_version"]

        record = stack.preparation.test_records[0]
        wait_for(lambda: is_up(second), "the second replica")
        assert version(second) == "v2"
        wait_for(lambda: len(stack.prometheus('up{job="serving-api"} == 1')) == 2, "both replicas in Prometheus", 60)

        for promoted in ("v1", "v2"):
            requests.post(f"{second}/models/{promoted}/promote", timeout=30).raise_for_status()
            time.sleep(2)
            # Each request on a connection of its own: both workers of both containers are asked.
            assert {version(url) for url in (first, second) for _ in range(30)} == {promoted}
    finally:
        output("docker", "rm", "--force", f"{NAME}-second")


def is_up(url):
    try:
        return requests.get(f"{url}/readyz", timeout=2).ok
    except requests.RequestException:
        return False


@pytest.mark.parametrize("service", [*(one for one in RUNNING if one != "serving-api"), "serving-api"])
def test_a_killed_service_does_not_stop_the_predictions(stack, service):
    feedback = Feedback(stack.api, stack.preparation.test_records)
    with load(stack, clients=2) as running:
        time.sleep(1)
        killed_at = time.time()
        container = stack.container(service)
        output("docker", "kill", container)
        time.sleep(KILL_SECONDS)
        answered = sum(began > killed_at + 1 for began, _, _ in running.answers)
        output("docker", "start", container)
        stack.wait_healthy(service)
        restarted_at = time.time()
        wait_for(lambda: feedback.acknowledged, "an acknowledged row", 60)
        time.sleep(2)
    acknowledged = feedback.stop()

    if service == "serving-api":
        assert answered == 0
        assert [began for began, _ in running.failures if began > restarted_at] == []
    else:
        assert running.failures == []
        assert answered > KILL_SECONDS
    # Backlogs drain: every answered prediction is in the log; those that a killed process had not written yet are
    # the one exception.
    told = [
        answer["prediction_id"]
        for began, _, answer in running.answers
        if service != "serving-api" or began > restarted_at
    ]
    wait_for(lambda: logged(stack, told) == len(told), f"{len(told)} predictions in the log", 60)
    # Acknowledged feedback is complete, in the table and in the file.
    rows = int(stack.sql("SELECT max(row) FROM feedback"))
    assert len(set(acknowledged.values())) == len(acknowledged) > 0
    assert max(acknowledged.values()) <= rows == len(stack.prod_rows)
    assert stack.sql("SELECT count(*) FROM feedback") == str(rows)


def logged(stack, identifiers):
    listed = ",".join(f"'{identifier}'" for identifier in identifiers)
    arguments = ("docker", "compose", "exec", "-T", "postgres", "psql", "--username=boucle", "--tuples-only")
    done = subprocess.run(
        [*arguments, "--no-align"],
        input=f"SELECT count(*) FROM predictions WHERE prediction_id IN ({listed});",
        cwd=stack.folder,
        env=stack.environment,
        text=True,
        capture_output=True,
        check=True,
    )
    return int(done.stdout)


def test_the_backlog_of_training_requests_is_worked_off(stack):
    wait_for(
        lambda: all(run["state"] not in ("requested", "running") for run in stack.get("/retrain")["runs"]), "", 180
    )

    rows = stack.get("/retrain")["feedback_rows"]
    by_feedback = int(stack.sql("SELECT count(*) FROM training_runs WHERE trigger = 'feedback'"))
    assert by_feedback == rows // K
    assert stack.sql("SELECT count(*) FROM training_runs WHERE state = 'failed'") == "0"


def test_told_to_stop_serving_answers_what_it_was_asked(stack):
    # By the container's own address: Docker's proxy for the published port accepts connections that nobody answers.
    url = f"http://{stack.address(stack.container('serving-api'))}:8080"
    records = stack.preparation.test_records
    stop, lost, answered, acknowledged = threading.Event(), [], [], {}

    def ask(name):
        number = 0
        while not stop.is_set():
            number += 1
            key = f"stop-{name}-{number}"
            try:
                if name % 2:
                    requests.post(f"{url}/predict", json=records[0], timeout=30).raise_for_status()
                    answered.append(key)
                else:
                    body = {"data": records[0], "prediction": "benign", "target": "benign"}
                    headers = {"Idempotency-Key": key}
                    answer = requests.post(f"{url}/feedback", json=body, headers=headers, timeout=30)
                    answer.raise_for_status()
                    acknowledged[key] = answer.json()["row"]
            except requests.RequestException as failure:
                if "refused" not in str(failure) and "No route" not in str(failure):
                    lost.append(repr(failure))
                return

    def ask_for_many():
        answer = requests.post(f"{url}/predict/batch", json=records * 30, timeout=60)
        answered.extend(json.loads(line)["prediction_id"] for line in answer.text.splitlines())

    clients = [threading.Thread(target=ask, args=[name]) for name in range(6)]
    clients.append(threading.Thread(target=ask_for_many))
    [client.start() for client in clients]
    time.sleep(1.5)
    began = time.monotonic()
    stack.compose("stop", "serving-api")
    seconds = time.monotonic() - began
    stop.set()
    [client.join() for client in clients]

    state = stack.inspect("serving-api")["State"]
    stack.compose("start", "serving-api")
    stack.wait_healthy("serving-api")
    assert lost == []
    assert state["ExitCode"] == 0
    assert seconds < 30
    assert sum(len(answer) == 36 for answer in answered) == len(records) * 30
    assert acknowledged
    listed = ",".join(str(row) for row in acknowledged.values())
    assert stack.sql(f"SELECT count(*) FROM feedback WHERE row IN ({listed})") == str(len(acknowledged))
    assert len(stack.prod_rows) == int(stack.sql("SELECT max(row) FROM feedback"))


def test_after_down_and_up_everything_is_as_before(stack):
    def reports():
        try:
            return requests.get(f"{stack.url('reporting')}/api/projects", timeout=30).json()
        except requests.ConnectionError:  # Docker's proxy takes a connection that nobody answers yet
            return None

    def story():
        return {
            "models": stack.get("/models"),
            "runs": stack.get("/retrain"),
            "prod_data": (stack.folder / "data" / "prod_data.csv").read_bytes(),
            "predictions": stack.sql("SELECT count(*) FROM predictions"),
            "mlflow": stack.mlflow_champion(),
            "reports": wait_for(reports, "the reports"),
        }

    wait_for(
        lambda: all(run["state"] not in ("requested", "running") for run in stack.get("/retrain")["runs"]), "", 180
    )
    time.sleep(1)
    before, then = story(), time.time()
    history = stack.prometheus("count_over_time(boucle_feedback_rows[1h])")
    stack.make("down")
    assert output("docker", "ps", "--all", "--quiet", "--filter", f"name={NAME}-") == ""

    stack.make("up", WITHOUT=" ".join(WITHOUT))

    after = story()
    before["predictions"] = str(int(before["predictions"]) + 1)  # the one with which `make up` has tried it
    assert after == before
    wait_for(lambda: stack.prometheus("boucle_feedback_rows"), "a scrape", 60)
    # What Prometheus had recorded before is still there.
    assert history
    remembered = stack.prometheus(f"count_over_time(boucle_feedback_rows[1h] @ {then:.0f})")
    assert float(remembered[0]["value"][1]) >= float(history[0]["value"][1]) - 2


def test_a_code_edit_makes_one_new_layer_and_keeps_the_others(stack):
    def layers():
        return json.loads(
            output("docker", "image", "inspect", "--format", "{{json .RootFS.Layers}}", f"{NAME}/serving-api:local")
        )

    before, source = layers(), stack.folder / "serving" / "problems.py"
    source.write_text(source.read_text() + "\n# edited\n")

    stack.compose("build", "serving-api")

    assert layers()[:-1] == before[:-1]
    assert layers()[-1] != before[-1]


BROKEN = """
FROM {image}
CMD ["python", "-c", "import http.server as s\\n\\
class Lies(s.BaseHTTPRequestHandler):\\n\\
    def do_GET(self):\\n\\
        self.send_response(200)\\n\\
        self.end_headers()\\n\\
        self.wfile.write(b'{{}}')\\n\\
s.HTTPServer(('', 8080), Lies).serve_forever()"]
"""


def test_a_deployment_that_does_not_predict_goes_back_to_the_images_before(stack):
    before = stack.inspect("serving-api")["Image"]
    for name in ("trainer", "webapp", "reporting", "mlflow", "exporter"):
        output("docker", "tag", f"{NAME}/{name}:local", f"{NAME}/{name}:broken")
    subprocess.run(
        ["docker", "build", "-q", "-t", f"{NAME}/serving-api:broken", "-"],
        input=BROKEN.format(image=f"{NAME}/serving-api:local"),
        text=True,
        check=True,
        capture_output=True,
    )

    done = stack.run("make", "deploy", check=False, TAG="broken", WITHOUT=" ".join(WITHOUT))

    assert done.returncode != 0
    assert "ROLLED BACK" in done.stdout
    assert stack.inspect("serving-api")["Image"] == before
    assert requests.post(f"{stack.api}/predict", json=stack.preparation.test_records[0], timeout=30).ok


def test_a_deployment_that_predicts_stays(stack):
    output("git", "-c", "user.name=e2e", "-c", "user.email=e2e@localhost", "commit", "-qam", "Edit", cwd=stack.folder)
    commit = output("git", "rev-parse", "--short=12", "HEAD", cwd=stack.folder).strip()

    said = stack.make("deploy", WITHOUT=" ".join(WITHOUT))

    assert f"DEPLOYED {commit}" in said
    assert stack.inspect("serving-api")["Config"]["Image"] == f"{NAME}/serving-api:{commit}"
    assert f"BOUCLE_TAG={commit}" in (stack.folder / ".env").read_text()
