import json
import re
import sys
import tomllib
from pathlib import Path

import psutil
import pytest

from scripts.benchmarks.serving import load, plot, steady, upload
from scripts.benchmarks.serving.environments import REQUIREMENTS
from scripts.benchmarks.serving.goals import ON_ONE_CORE, SLOW, SLOW_POSTGRESQL, TIMES, Goal, all_goals, shown
from scripts.benchmarks.serving.load import Answers
from scripts.benchmarks.serving.machine import share_of_others
from scripts.benchmarks.serving.measurements import Failure, Measurement, Summary, Value, figures_of
from scripts.benchmarks.serving.report import Run, as_json, as_markdown, noise
from scripts.benchmarks.serving.server import Launch, Request, ServerFailed, running
from tests.support import ROOT, free_port, wait_for

SERVERS = REQUIREMENTS.parent / "servers"
needs_wrk = pytest.mark.skipif(not load.installed(), reason="wrk is not installed (Debian: apt-get install wrk)")


def measured(contender, number, others=0.0, scenario="single", case="linear, 8", **figures):
    return Measurement(scenario, contender, case, number, figures, others)


def locked():
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    return {package["name"]: package["version"] for package in lock["package"]}


def lives(one):
    return one.is_running() and one.status() != psutil.STATUS_ZOMBIE


def run_of(*measurements, failures=()):
    machine = {"processor": "P", "cores": 2, "memory_gb": 8, "kernel": "6", "python": "3.11"}
    machine |= {"uvicorn": "0", "scikit-learn": "1"}
    titles = {"boucle": "Boucle", "naive": "naive", "noop": "no-op", "bentoml": "BentoML"}
    packages = {"bentoml": ["bentoml==1.4.39"]}
    return Run("today", "abc", "make bench", machine, titles, list(measurements), list(failures), packages)


@pytest.fixture
def noop(tmp_path):
    """A real server that answers every request the same; with a request for it."""
    port, body = free_port(), tmp_path / "body.json"
    body.write_text("{}")
    command = [sys.executable, "-m", "uvicorn", "noop:app", "--port", str(port), "--log-level", "warning"]
    with running(Launch(command, port, SERVERS), tmp_path / "log") as server:
        request = Request("/predict", body)
        server.first_answer(request)
        yield server, request


def test_the_last_line_of_wrk_is_what_counts():
    line = '{"requests": 300, "microseconds": 2000000, "p50": 1500, "p99": 9000, "refused": 2, "broken": 1}'

    answers = load.parse(f"Running 2s test\n  1 threads\n{line}\n")

    assert answers == Answers(requests=300, seconds=2.0, p50=1.5, p99=9.0, errors=3)
    assert answers.per_second == 150


@pytest.mark.parametrize("output", ["", "unable to connect to 127.0.0.1:1 Connection refused"])
def test_a_wrk_that_says_no_figures_is_a_failure_that_quotes_it(output):
    with pytest.raises(ServerFailed, match=r"wrk says: (nothing|unable to connect)"):
        load.parse(output)


def test_no_answer_at_all_is_a_failure_and_not_a_rate_of_zero():
    with pytest.raises(ServerFailed, match="no request was answered"):
        load.parse('{"requests": 0, "microseconds": 2000000, "p50": 0, "p99": 0, "refused": 0, "broken": 9}')


def test_cpu_a_request_counts_every_request_of_the_load():
    figures = figures_of(Answers(requests=1_000, seconds=2.0, p50=1, p99=2, errors=0), cpu_seconds=0.5)

    assert (figures["per_second"], figures["per_cpu_second"], figures["cpu_microseconds"]) == (500, 2_000, 500)


def test_a_median_over_the_rounds_leaves_disturbed_ones_out():
    rounds = [
        measured("boucle", number, others, p50=p50) for number, (p50, others) in enumerate([(1, 0), (3, 0), (90, 0.5)])
    ]

    assert Summary(rounds).value("single", "boucle", "linear, 8", "p50") == Value(2, is_quiet=True)


def test_where_every_round_was_disturbed_the_median_says_so():
    rounds = [measured("boucle", number, 0.4, p50=p50) for number, p50 in enumerate((1, 3, 90))]

    assert Summary(rounds).value("single", "boucle", "linear, 8", "p50") == Value(3, is_quiet=False)


def test_a_ratio_is_taken_within_each_round_so_that_a_slow_round_slows_both():
    speeds = {"boucle": (100, 10, 100), "naive": (10, 1, 10)}
    rounds = [measured(name, i, per_second=speed) for name, all_ in speeds.items() for i, speed in enumerate(all_)]

    ratio = Summary(rounds).ratio("per_second", ("single", "boucle", "linear, 8"), ("single", "naive", "linear, 8"))

    assert ratio == Value(10, is_quiet=True)


def test_what_has_no_counterpart_in_its_round_gives_no_ratio():
    summary = Summary([measured("boucle", 0, p99=1), measured("naive", 1, p99=1)])

    assert summary.ratio("p99", ("single", "boucle", "linear, 8"), ("single", "naive", "linear, 8")) is None


def test_the_share_of_others_is_what_the_cores_did_that_we_did_not():
    assert share_of_others(busy=1.5, total=4.0, ours=1.0) == 0.125
    assert share_of_others(busy=1.0, total=4.0, ours=1.02) == 0  # clocks are read one after the other


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [
        (0.716, "%", "72%"),
        (15.04, TIMES, f"15 {TIMES}"),
        (101_234.5, "rows/s", "101,234 rows/s"),
        (2.5, TIMES, f"2.5 {TIMES}"),
        (100, "ms", "100 ms"),
    ],
)
def test_figures_are_shown_with_the_digits_that_matter(number, unit, text):
    assert shown(number, unit) == text


def test_the_worse_of_few_and_many_connections_decides():
    cases = {"linear, 8": 80.0, "linear, 64": 60.0}
    summary = Summary(
        [measured("boucle", 0, case=case, per_cpu_second=speed, errors=0) for case, speed in cases.items()]
        + [measured("noop", 0, case=case, per_cpu_second=100) for case in cases]
    )

    goal = next(goal for goal in all_goals(summary) if "linear" in goal.what and "share" in goal.what)

    assert goal.measured(summary).number == 0.6
    assert goal.is_met(summary) is False


def test_an_error_breaks_a_goal_however_fast_the_rest_was():
    goal = Goal("fast", 15, lambda _: Value(99, is_quiet=True), errors=lambda _: 1)

    assert goal.is_met(Summary([])) is False


def test_what_was_not_measured_is_neither_met_nor_missed():
    summary = Summary([])

    assert {goal.is_met(summary) for goal in all_goals(summary)} == {None}


def test_every_goal_can_be_met_by_what_the_scenarios_write_down():
    slow = {"per_second": 1, "per_cpu_second": 1, "p99": 1, "peak_megabytes": 1, "cpu_microseconds": 1}
    slow |= {"seconds": 9, "worker_rss": 99}
    fast = slow | {"per_second": 1e9, "per_cpu_second": 1e9, "seconds": 1, "worker_rss": 1}
    models, peers = ("linear", "forest", "boosting", "mlp"), ("mlflow", "bentoml", "litserve", "mlserver", "ray")
    ours = [("single", f"{model}, {connections}") for model in models for connections in (8, 64)]
    ours += [(scenario, "linear") for scenario in ("peers", "memory", "cold start")] + [("rows", "1,000 rows")]
    theirs = [(scenario, case, name) for scenario, case in ours for name in ("naive", "noop", *peers)]
    theirs += [("feedback", case, "naive") for case in ("SQLite", SLOW)]
    ours += [("CSV", "10 rows"), ("CSV", "100 rows")]
    ours += [("feedback", case) for case in ("SQLite", SLOW, "PostgreSQL", SLOW_POSTGRESQL)]
    ours += [("disturbance", case) for case in ("quiet", "swapping", "swapping by the API", "training")]
    ours += [("history", f"{what}, {rows} rows") for what in ("predict", "feedback") for rows in (1, 2)]
    ours += [("report", f"{rows} rows of feedback") for rows in (1, 2)]
    summary = Summary(
        [measured("boucle", 0, scenario=scenario, case=case, **fast) for scenario, case in ours]
        + [measured(name, 0, scenario=scenario, case=case, **slow) for scenario, case, name in theirs]
        + [measured("boucle", 0, scenario="workers", case=case, per_second=1) for case in ("1", ON_ONE_CORE)]
        + [measured("boucle", 0, scenario="workers", case="2", per_second=2)]
    )

    assert [goal.what for goal in all_goals(summary) if not goal.is_met(summary)] == []


def test_the_report_shows_goals_servers_versions_and_failures():
    run = run_of(
        measured("boucle", 0, per_second=3_000, per_cpu_second=3_000, cpu_microseconds=333, p50=1, p99=2, errors=0),
        measured("noop", 0, per_second=4_000, per_cpu_second=4_000, cpu_microseconds=250, p50=1, p99=2, errors=0),
        measured("bentoml", 0, scenario="peers", case="linear", per_second=9, cpu_microseconds=9, p50=1, p99=2),
        failures=[Failure("peers", "ray", "no wheel | for this machine")],
    )

    text = as_markdown(run)

    assert "| linear champion, 8 and 64 connections: share of the bare no-op | ≥ 70% | 75% | yes |" in text
    assert "| logistic regression | BentoML 1.4.39 | 9 |" in text
    assert "| peers | ray | no wheel / for this machine |" in text


def test_every_table_of_the_report_has_as_many_cells_in_each_row():
    run = run_of(measured("boucle", 0, per_second=1, per_cpu_second=1, p50=1, p99=1, errors=1))

    tables = re.findall(r"(?:^\|.*\n)+", as_markdown(run), re.MULTILINE)

    assert len(tables) >= 2
    assert all(len({line.count("|") for line in table.splitlines()}) == 1 for table in tables)


def test_the_report_says_when_the_machine_was_too_noisy_to_believe():
    quiet, noisy = [measured("boucle", i, p50=1) for i in range(9)], [measured("boucle", 9, 0.5, p50=1)]

    assert "too noisy" not in noise(Summary(quiet + noisy))
    assert "too noisy" in noise(Summary(quiet[:2] + noisy))


def test_the_json_holds_every_measurement_and_what_became_of_the_goals():
    run = run_of(measured("boucle", 0, 0.3, p50=1.25))

    content = json.loads(as_json(run))

    assert content["measurements"][0]["figures"] == {"p50": 1.25}
    assert content["measurements"][0]["others"] == 0.3
    assert {goal["is_met"] for goal in content["goals"]} == {None}


def test_the_picture_is_drawn_from_whatever_was_measured(tmp_path):
    run = run_of(
        measured("boucle", 0, cpu_microseconds=30, per_cpu_second=30_000),
        measured("noop", 0, cpu_microseconds=20, per_cpu_second=50_000),
        measured("boucle", 0, scenario="disturbance", case="quiet", p50=1, p99=2),
        measured("boucle", 0, scenario="memory", case="linear", all_pss=50),
    )

    plot.draw(run, tmp_path / "bench.png")

    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_the_other_tools_unpickle_with_the_scikit_learn_that_pickled():
    for requirements in REQUIREMENTS.glob("*.txt"):
        assert f"scikit-learn=={locked()['scikit-learn']}" in requirements.read_text().splitlines(), requirements.name


def test_the_naive_server_runs_under_the_very_uvicorn_of_boucle():
    lines = (REQUIREMENTS / "naive.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))

    assert pins == {name: locked()[name] for name in pins}


def test_every_pin_is_exact():
    lines = [line for path in REQUIREMENTS.glob("*.txt") for line in path.read_text().splitlines() if line[0] != "#"]

    assert [line for line in lines if not re.fullmatch(r"[\w.\[\]-]+==[\d.]+", line)] == []


@needs_wrk
def test_a_real_server_is_loaded_weighed_and_gone_afterwards(noop):
    server, request = noop
    family = server.family()

    answers = load.saturate(server.launch.url, request, connections=2, seconds=1, core=None)

    assert answers.requests > 0
    assert answers.errors == 0
    assert 0 < answers.p50 <= answers.p99
    assert server.cpu_seconds() > 0
    assert server.memory().worker_rss > 5
    assert server.peak_rss() >= server.memory().worker_rss * 0.9
    server.stop()
    assert not any(lives(one) for one in family)


def test_a_steady_load_keeps_its_rate_and_counts_what_is_refused(noop):
    server, request = noop

    answers = steady.ask(server.launch.url, request, rate=50, seconds=1.0)

    assert (answers.requests, answers.errors) == (50, 0)
    assert answers.p50 > 0


def test_a_server_may_keep_its_bytecode_whatever_its_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    code = "import sys; print(sys.dont_write_bytecode, flush=True); input()"
    launch = Launch([sys.executable, "-c", code], 0, tmp_path, {"PYTHONDONTWRITEBYTECODE": "1"})

    with running(launch, tmp_path / "log"):
        wait_for((tmp_path / "log").read_text, "its word")

    assert (tmp_path / "log").read_text().startswith("False")


def test_a_process_that_left_its_parent_is_found_by_its_mark(tmp_path):
    wait = "import time; time.sleep(60)"
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', '{wait}'], start_new_session=True); {wait}"

    with running(Launch([sys.executable, "-c", code], 0, tmp_path), tmp_path / "log") as server:
        family = wait_for(lambda: found if len(found := server.family()) == 2 else None, "the second process")
        family[0].kill()

    assert not any(lives(one) for one in family)


def test_a_server_that_ends_is_a_failure_with_its_last_words(tmp_path):
    code = "raise SystemExit('no such model')"
    request = Request("/", tmp_path / "body")
    request.file.write_bytes(b"")

    with (
        running(Launch([sys.executable, "-c", code], free_port(), tmp_path), tmp_path / "log") as server,
        pytest.raises(ServerFailed, match="no such model"),
    ):
        server.first_answer(request)


def test_an_upload_is_answered_line_by_line(tmp_path):
    app = Path(tmp_path / "lines.py")
    app.write_text(
        "async def app(scope, receive, send):\n"
        "    if scope['type'] != 'http': return\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        "    more = True\n"
        "    while more:\n"
        "        message = await receive()\n"
        "        more = message.get('more_body')\n"
        "        answer = b'{}\\n' * message['body'].count(b'\\n')\n"
        "        await send({'type': 'http.response.body', 'body': answer, 'more_body': True})\n"
        "    await send({'type': 'http.response.body', 'body': b'{\"error\": 1}\\n'})\n"
    )
    body, port = tmp_path / "rows.csv", free_port()
    body.write_text("1,2,3\n" * 100_000)
    command = [sys.executable, "-m", "uvicorn", "lines:app", "--port", str(port), "--log-level", "warning"]
    with running(Launch(command, port, tmp_path), tmp_path / "log") as server:
        server.first_answer(Request("/", tmp_path / "lines.py"))

        rows = upload.stream(server.launch.url, Request("/", body, "text/csv"), deadline_seconds=30)

    assert (rows.answered, rows.errors) == (100_001, 1)
