"""Every scenario of the benchmark; each takes the lab and leaves its measurements there."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import requests

from boucle.monitoring.observer import Observer
from boucle.monitoring.reports import last_report, request_report, wait_for_report
from scripts.benchmarks import loop, retraining
from scripts.benchmarks.serving import load, machine, material, slow_disk, steady, swapping, upload
from scripts.benchmarks.serving.contenders import PEERS
from scripts.benchmarks.serving.goals import ON_ONE_CORE, SLOW, SLOW_POSTGRESQL
from scripts.benchmarks.serving.lab import Lab, Start, place
from scripts.benchmarks.serving.measurements import Figures, Measurement
from scripts.benchmarks.serving.server import Launch, Request, Server, ServerFailed, running
from tests import postgresql
from tests.support import ROOT, Home, free_port, process, wait_for

CONNECTIONS = (8, 64)
ALWAYS = ["boucle", "naive", "noop"]
Prepared = Callable[[Lab, Launch], Launch]
UPLOAD_SECONDS = 300.0
REPORT_SECONDS = 120.0
STEADY_RATE = 200


def single(lab: Lab) -> None:
    """One row a request, then 1,000, and what the processes hold afterwards; one core for the server."""
    for number in lab.rounds:
        for model in lab.effort.models:
            for name in lab.take_turns(ALWAYS, number):
                with lab.attempt("single", name), lab.warm(lab.contenders[name], model, core=lab.cores.server) as warm:
                    _single(lab, warm, name, model, number)


def _single(lab: Lab, warm: tuple[Server, Request], name: str, model: str, number: int) -> None:
    server, request = warm
    for connections in CONNECTIONS:
        where = place("single", name, f"{model}, {connections}", number)
        lab.saturate(where, server, request, connections, lab.cores.load)
    if model == "linear":
        lab.record(place("memory", name, model, number), asdict(server.memory()), 0.0)
        many = Request("/predict/batch", lab.material.file("named-many.json"))
        lab.saturate(place("rows", name, "1,000 rows", number), server, many, 1, lab.cores.load)
        if name == "boucle":
            _nothing_dropped(server)


def _nothing_dropped(server: Server) -> None:
    """A log that drops rows is fast."""
    exposition = requests.get(f"{server.launch.url}/metrics", timeout=30).text
    dropped = float(exposition.partition("\nboucle_prediction_log_dropped_total ")[2].split()[0])
    if dropped:
        raise ServerFailed(f"{dropped:,.0f} predictions are missing in the log")


def peers(lab: Lab) -> None:
    """The other tools, with the same load."""
    if not set(PEERS) & set(lab.contenders):
        return
    left_out: set[str] = set()
    for number in lab.rounds:
        # The forest once: the tools differ by what they add to the model, which the linear one shows best.
        for model in ("linear", "forest") if number == 0 and "forest" in lab.effort.models else ("linear",):
            for name in lab.take_turns(["boucle", "naive", *PEERS], number):
                if name in left_out:
                    continue
                failures = len(lab.failures)
                with lab.attempt("peers", name), lab.warm(lab.contenders[name], model, core=lab.cores.server) as warm:
                    server, request = warm
                    lab.saturate(place("peers", name, model, number), server, request, 8, lab.cores.load)
                    lab.record(place("peers memory", name, model, number), asdict(server.memory()), 0.0)
                if len(lab.failures) > failures:
                    left_out.add(name)


def cold(lab: Lab) -> None:
    """From the start of the process to the first answer, on all cores; bytecode is there."""
    for name in lab.contenders:
        with lab.attempt("cold start", name):
            _start(lab, name)
    for number in lab.rounds:
        for name in lab.take_turns(list(lab.contenders), number):
            with lab.attempt("cold start", name):
                start = _start(lab, name)
                lab.record(place("cold start", name, "linear", number), {"seconds": start.seconds}, start.others)


def _start(lab: Lab, name: str) -> Start:
    contender = lab.contenders[name]
    request, launch = contender.request(lab.material), contender.launch(lab.material, "linear", 1)
    machine.settle(lab.effort.patience_seconds)
    with lab.serving(launch, request, None) as (_, start):
        return start


def workers(lab: Lab) -> None:
    """Two workers against one, on two cores with the load generator beside them; and one that shares one core with it.

    On two cores one worker has a core of its own, while two leave the load generator none.
    """
    cases = {"1": (1, None), "2": (2, None), ON_ONE_CORE: (1, lab.cores.server)}
    for number in lab.rounds:
        for case in list(cases)[:: -1 if number % 2 else 1]:
            many, core = cases[case]
            with lab.attempt("workers", "boucle"), lab.warm(lab.contenders["boucle"], "linear", many, core) as warm:
                lab.saturate(place("workers", "boucle", case, number), *warm, connections=64, core=core)


def table(lab: Lab) -> None:
    """A large CSV in one request: rows a second of CPU, and the most memory that was held."""
    for number in range(min(lab.effort.rounds, 2)):
        for rows in lab.effort.rows:
            with lab.attempt("CSV", "boucle"):
                _table(lab, rows, number)


def _table(lab: Lab, rows: int, number: int) -> None:
    request, contender = lab.material.csv(rows), lab.contenders["boucle"]
    launch = contender.launch(lab.material, "linear", 1)
    with lab.serving(launch, contender.request(lab.material), lab.cores.server) as (server, _):
        machine.settle(lab.effort.patience_seconds)
        before = server.cpu_seconds()
        with machine.watched() as others:
            answered = upload.stream(launch.url, request, UPLOAD_SECONDS)
            spent = server.cpu_seconds() - before
        figures = {
            "per_second": answered.answered / answered.seconds,
            "per_cpu_second": answered.answered / spent,
            "peak_megabytes": server.peak_rss(),
            "errors": answered.errors + abs(rows - answered.answered),
        }
        lab.record(place("CSV", "boucle", f"{rows:,} rows", number), figures, others.share)


def disturbances(lab: Lab) -> None:
    """The p99 at a steady rate: quiet, while the champion changes, and while a real training run goes on."""
    lab.say(f"giving feedback of {lab.effort.retraining_rows:,} rows")
    original = Home(lab.material.folder / "retraining").write(_retraining_project())
    original.train()
    # A second version of the same embedding, as a training run makes them.
    manifest = original.artifacts.manifest("v1")
    contents = {name: (original.artifacts.root / "v1" / name).read_bytes() for name in manifest.files}
    original.artifacts.publish(manifest, contents)
    retraining.grow(original, lab.effort.retraining_rows)
    for number in range(2 * lab.effort.rounds):  # a p99 moves more from one moment to the next than a mean
        with lab.attempt("disturbance", "boucle"):
            _disturb(lab, lab.material.copy(original), number)


def _retraining_project() -> str:
    project = material.PROJECT.format(algorithm="logistic_regression")
    return project.replace('["logistic_regression"]', '["logistic_regression", "random_forest"]')


def _disturb(lab: Lab, home: Home, number: int) -> None:
    request = Request("/predict", lab.material.file("named.json"))
    with (
        lab.serving(material.serving(home), request, None) as (server, _),
        running(material.trainer(home), lab.logs / "trainer.log") as beside,
    ):
        url = server.launch.url
        steady.ask(url, request, STEADY_RATE, 1.0)

        def measure(case: str) -> None:
            where = place("disturbance", "boucle", case, number)
            lab.measure(where, lambda: steady.ask(url, request, STEADY_RATE, 2 * lab.effort.seconds), server)

        measure("quiet")
        with _swapping(str(home.artifacts.root)):
            measure("swapping")
        with _swapping(url):
            measure("swapping by the API")
        run = requests.post(f"{url}/retrain", timeout=30).json()
        _wait(lambda: _state(url) == "running", "the training run to start")
        measure("training")
        if _state(url) != "running":
            raise ServerFailed(f"the training run was over too soon, or failed: {run}; {beside.last_words()}")


@contextmanager
def _swapping(where: str) -> Iterator[None]:
    """Promote one version, then the other, and so on while the block runs."""
    command = [sys.executable, "-m", swapping.__name__, where]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603  # no shell
        try:
            yield
            if process.poll() is not None:
                raise ServerFailed(process.communicate()[1])
        finally:
            process.terminate()


def feedback(lab: Lab) -> None:
    """Feedback that is durable before it is answered, against a server, and a mere loop, that sync each row alone."""
    for number in lab.rounds:
        _sync_row_by_row(lab, number)
        for case, prepared in (("SQLite", _as_it_is), (SLOW, _slow)):
            for name, give in (("naive", _give_naive), ("boucle", _give_sqlite)):
                with lab.attempt("feedback", name):
                    give(lab, case, number, prepared)
    if postgresql.installed() is None:
        return
    servers = {"PostgreSQL": postgresql.running(), SLOW_POSTGRESQL: postgresql.running(slow_disk.environment)}
    for case, started in servers.items():
        with lab.attempt("feedback", "boucle"), started as server:
            for number in lab.rounds:
                with server.database() as url:
                    home = lab.material.home("linear", url)
                    _give(lab, home, material.serving(home), place("feedback", "boucle", case, number))


def _as_it_is(_: Lab, launch: Launch) -> Launch:
    return launch


def _slow(lab: Lab, launch: Launch) -> Launch:
    return slow_disk.on_slow_disk(launch, lab.material.folder)


def _give_naive(lab: Lab, case: str, number: int, prepared: Prepared) -> None:
    naive = lab.contenders.get("naive")
    if naive is None or naive.feedback is None:
        return
    folder = lab.material.file(f"naive, {case}, {number}")
    folder.mkdir()
    launch = prepared(lab, naive.feedback(lab.material, folder))
    _give_at_once(lab, launch, place("feedback", "naive", case, number))


def _give_sqlite(lab: Lab, case: str, number: int, prepared: Prepared) -> None:
    home = lab.material.home("linear")
    _give(lab, home, prepared(lab, material.serving(home)), place("feedback", "boucle", case, number))


def _give(lab: Lab, home: Home, launch: Launch, where: Measurement) -> None:
    acknowledged = _give_at_once(lab, launch, where)["requests"]
    with home.prod_data.open("rb") as file:
        written = sum(1 for _ in file) - 1
    if written < acknowledged:
        raise ServerFailed(f"{acknowledged:,} were acknowledged, {written:,} are in prod_data.csv")


def _give_at_once(lab: Lab, launch: Launch, where: Measurement) -> Figures:
    request = Request("/feedback", lab.material.file("feedback.json"))
    predict = Request("/predict", lab.material.file("named.json"))
    with lab.serving(launch, predict, lab.cores.server) as (server, _):
        load.saturate(server.launch.url, request, 8, 1, lab.cores.load)
        return lab.saturate(where, server, request, 64, lab.cores.load)


def _sync_row_by_row(lab: Lab, number: int) -> None:
    """What the disk allows: one commit, and one fsync, a row; no HTTP. In WAL, where a commit takes no second one."""
    body = lab.material.file("feedback.json").read_text()
    path = lab.material.file(f"row-by-row-{number}.db")
    machine.settle(lab.effort.patience_seconds)
    with machine.watched() as others:
        rows, seconds = _commit_rows(path, body, lab.effort.seconds)
    lab.record(place("feedback", "one fsync a row", "SQLite", number), {"per_second": rows / seconds}, others.share)


def _commit_rows(path: Path, body: str, seconds: float) -> tuple[int, float]:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
    connection.execute("CREATE TABLE feedback (row INTEGER PRIMARY KEY, input TEXT)")
    rows, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        connection.execute("INSERT INTO feedback (input) VALUES (?)", (body,))
        rows += 1
    connection.close()
    return rows, time.perf_counter() - started


def history(lab: Lab) -> None:
    """Predictions, feedback and reports, on a short history of feedback and on a long one."""
    homes = {}
    for rows in lab.effort.history:
        lab.say(f"growing a history of {rows:,} rows")
        homes[rows] = lab.material.home("linear")
        loop.grow(homes[rows], rows)
    for number in range(min(lab.effort.rounds, 2)):
        for rows in lab.effort.history[:: -1 if number % 2 else 1]:
            with lab.attempt("history", "boucle"):
                _remember(lab, homes[rows], rows, number)
                _report(lab, homes[rows], rows, number)


def _remember(lab: Lab, home: Home, rows: int, number: int) -> None:
    predict = Request("/predict", lab.material.file("named.json"))
    give = Request("/feedback", lab.material.file("feedback.json"))
    with lab.serving(material.serving(home), predict, lab.cores.server) as (server, start):
        seconds = {"seconds": start.seconds}
        lab.record(place("start", "boucle", f"{rows:,} rows of feedback", number), seconds, start.others)
        for what, request in (("predict", predict), ("feedback", give)):
            load.saturate(server.launch.url, request, 8, 1, lab.cores.load)
            where = place("history", "boucle", f"{what}, {rows:,} rows", number)
            lab.saturate(where, server, request, 8, lab.cores.load)


def _report(lab: Lab, home: Home, rows: int, number: int) -> None:
    """A report that somebody asks for, on what the exporter has just seen; the first one imports Evidently."""
    data = home.places.data
    Observer(home.project, data, home.artifacts, home.store).look(datetime.now(UTC))
    settings = {"REPORTING_PORT": str(free_port()), "BOUCLE_REPORTING_INTERVAL_SECONDS": "1"}
    with process(["-m", "reporting.project"], home.environment(**settings), lab.logs / "reporting.log"):
        wait_for(lambda: last_report(data), "the first report", REPORT_SECONDS)
        with machine.watched() as others:
            started = time.perf_counter()
            wait_for_report(data, request_report(data), REPORT_SECONDS)
            seconds = {"seconds": time.perf_counter() - started}
    lab.record(place("report", "boucle", f"{rows:,} rows of feedback", number), seconds, others.share)


SCENARIOS: dict[str, Callable[[Lab], None]] = {
    "single": single,
    "cold": cold,
    "workers": workers,
    "csv": table,
    "disturbances": disturbances,
    "feedback": feedback,
    "history": history,
    "peers": peers,
}


def _state(url: str) -> str:
    return str(requests.get(f"{url}/retrain", timeout=30).json()["runs"][0]["state"])


def _wait(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise ServerFailed(f"waited {seconds:g} s in vain for {what}")
        time.sleep(0.05)
