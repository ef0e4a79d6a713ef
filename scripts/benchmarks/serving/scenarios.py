"""Every scenario of the benchmark; each takes the lab and leaves its measurements there."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import requests

from scripts.benchmarks import loop, retraining
from scripts.benchmarks.serving import load, machine, material, steady, upload
from scripts.benchmarks.serving.contenders import PEERS
from scripts.benchmarks.serving.lab import Lab, place
from scripts.benchmarks.serving.server import Request, Server, ServerFailed, running
from tests import postgresql
from tests.support import Home

CONNECTIONS = (8, 64)
ALWAYS = ["boucle", "naive", "noop"]
UPLOAD_SECONDS = 300.0
STEADY_RATE = 200
SWAPS_EVERY_SECONDS = 0.5


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
    """From the start of the process to the first answer, on all cores."""
    for number in lab.rounds:
        for name in lab.take_turns(list(lab.contenders), number):
            contender = lab.contenders[name]
            with lab.attempt("cold start", name):
                request, launch = contender.request(lab.material), contender.launch(lab.material, "linear", 1)
                machine.settle(lab.effort.patience_seconds)
                with lab.serving(launch, request, None) as (_, start):
                    lab.record(place("cold start", name, "linear", number), {"seconds": start.seconds}, start.others)


def workers(lab: Lab) -> None:
    """Two workers against one; nothing is pinned, so the load generator takes its part of the two cores."""
    for number in lab.rounds:
        for many in (1, 2) if number % 2 == 0 else (2, 1):
            with lab.attempt("workers", "boucle"), lab.warm(lab.contenders["boucle"], "linear", many) as warm:
                lab.saturate(place("workers", "boucle", str(many), number), *warm, connections=64, core=None)


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
    for number in lab.rounds:
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
        with _swapping(server):
            measure("swapping")
        run = requests.post(f"{url}/retrain", timeout=30).json()
        _wait(lambda: _state(url) == "running", "the training run to start")
        measure("training")
        if _state(url) != "running":
            raise ServerFailed(f"the training run was over too soon, or failed: {run}; {beside.last_words()}")


@contextmanager
def _swapping(server: Server) -> Iterator[None]:
    """Promote one version, then the other, and so on while the block runs."""
    over, refused = threading.Event(), []

    def swap() -> None:
        number = 0
        while not over.wait(SWAPS_EVERY_SECONDS):
            number += 1
            body = b'{"reason": "for the benchmark", "actor": "benchmark"}'
            status, said = server.post(f"/models/v{1 + number % 2}/promote", body)
            if status != 200:
                refused.append(said)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if refused:
        raise ServerFailed(f"{len(refused)} promotions were refused: {refused[0]}")


def feedback(lab: Lab) -> None:
    """Feedback that is durable before it is answered, against a row that SQLite syncs alone."""
    for number in lab.rounds:
        _sync_row_by_row(lab, number)
        with lab.attempt("feedback", "boucle"):
            _give(lab, lab.material.home("linear"), "SQLite", number)
    if postgresql.installed() is None:
        return
    with lab.attempt("feedback", "boucle"), postgresql.running() as server:
        for number in lab.rounds:
            with server.database() as url:
                _give(lab, lab.material.home("linear", url), "PostgreSQL", number)


def _give(lab: Lab, home: Home, case: str, number: int) -> None:
    request = Request("/feedback", lab.material.file("feedback.json"))
    predict = Request("/predict", lab.material.file("named.json"))
    with lab.serving(material.serving(home), predict, lab.cores.server) as (server, _):
        load.saturate(server.launch.url, request, 8, 1, lab.cores.load)
        figures = lab.saturate(place("feedback", "boucle", case, number), server, request, 64, lab.cores.load)
        with home.prod_data.open("rb") as file:
            written = sum(1 for _ in file) - 1
        if written < figures["requests"]:
            raise ServerFailed(f"{figures['requests']:,} were acknowledged, {written:,} are in prod_data.csv")


def _sync_row_by_row(lab: Lab, number: int) -> None:
    """The yardstick: one commit, and one fsync, a row. In WAL, where a commit takes no second one."""
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
    """Predictions and feedback, on a short history of feedback and on a long one."""
    homes = {}
    for rows in lab.effort.history:
        lab.say(f"growing a history of {rows:,} rows")
        homes[rows] = lab.material.home("linear")
        loop.grow(homes[rows], rows)
    for number in range(min(lab.effort.rounds, 2)):
        for rows in lab.effort.history[:: -1 if number % 2 else 1]:
            with lab.attempt("history", "boucle"):
                _remember(lab, homes[rows], rows, number)


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
