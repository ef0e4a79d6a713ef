"""What a training run costs in seconds and memory, with ten times the rows each time.

Run by `make bench-training`. Seconds depend on the machine and on who shares it; megabytes and ratios hardly do.
"""

import json
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import psutil
import typer

from boucle import models, training
from boucle.contract import Classes
from boucle.publishing import Lineage, publish
from boucle.store import Labelled, Run
from tests.support import ROOT, Home, process, wait_for

FEWEST, BATCH = 1_000, 10_000
NEW_ROWS = 50
JITTER, WRONG = 0.02, 0.1
INSERT = """
    INSERT INTO feedback
        (row, prediction_id, created_at, input, vector, target, prediction, model_version, status, line_end)
    VALUES (?, ?, '2026-01-01T00:00:00.000+00:00', ?, ?, ?, ?, 'v1', 'accepted', 0)
"""
SECONDS_BETWEEN_LOOKS = 0.1
HOURS = 6 * 3600.0


@dataclass
class Peak:
    """The most megabytes seen: of all the trainer's processes what a container's limit counts, and of one RSS."""

    counted: float = 0.0
    rss: float = 0.0


def main(
    rows: Annotated[int, typer.Option(help="The longest history, a power of ten.")] = 1_000_000,
    target: Annotated[str, typer.Option(help="Another column, such as 'mean area': a quantity.")] = "diagnosis",
) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home").write(_project(target))
        typer.echo("preparing and training …")
        home.train()
        typer.echo(f"\n{'rows':>9}  {'champion learnt':20} {'seconds':>8} {'ratio':>6} {'MB':>6} {'RSS':>6}  verdict")
        before: dict[str, float] = {}
        number = FEWEST
        while number <= rows:
            grow(home, number)
            for case, learnt in (("nothing of them", 0), (f"all but {NEW_ROWS}", number - NEW_ROWS)):
                crown(home, learnt)
                run, peak = measure(home)
                seconds = _seconds(run)
                ratio = f"{seconds / before[case]:6.1f}" if case in before else " " * 6
                before[case] = seconds
                figures = f"{seconds:8.1f} {ratio} {peak.counted:6.0f} {peak.rss:6.0f}"
                typer.echo(f"{number:9,}  {case:20} {figures}  {run.verdict or run.reason}")
            number *= 10


def grow(home: Home, rows: int) -> None:
    """Give feedback until there are ``rows`` of it: held-out rows, jittered, some with a wrong label."""
    prepared, random = home.preparation, np.random.default_rng(rows)
    contract, store = prepared.contract, home.store
    store.feedback.use(prepared.embedding)
    names = list(contract.names)
    values = np.array([[record[name] for name in names] for record in prepared.test_records], dtype=np.float64)
    with sqlite3.connect(home.places.data / "boucle.db") as connection:
        for first in range(store.feedback.rows() + 1, rows + 1, BATCH):
            numbers = range(first, min(first + BATCH, rows + 1))
            chosen = random.integers(0, len(values), len(numbers))
            jittered = values[chosen] * (1 + JITTER * random.standard_normal((len(numbers), len(names))))
            records = [dict(zip(names, row, strict=True)) for row in jittered.tolist()]
            truths = prepared.test_labels[chosen]
            if isinstance(contract.target, Classes):
                flipped = random.random(len(numbers)) < WRONG
                moved = np.where(flipped, random.integers(0, contract.target.n_classes, len(numbers)), truths)
                targets = [json.dumps(contract.target.classes[position]) for position in moved]
            else:
                moved = truths * (1 + WRONG * random.standard_normal(len(numbers)))
                targets = [json.dumps(quantity) for quantity in moved.tolist()]
            vectors = prepared.embedding.vectors(records)
            connection.executemany(
                INSERT,
                [
                    (number, f"row {number}", json.dumps(record), vector.tobytes(), label, label)
                    for number, record, vector, label in zip(numbers, records, vectors, targets, strict=True)
                ],
            )


def crown(home: Home, learnt: int) -> None:
    """Make a forest champion that has learnt the reference rows and the first ``learnt`` of the feedback."""
    prepared, project = home.preparation, home.project
    known = Labelled(np.zeros(len(prepared.labels), dtype=np.int64), prepared.vectors, prepared.labels)
    learned = home.store.feedback.labelled(prepared.embedding, before=known)
    forest = next(
        recipe for recipe in training.candidates(project, prepared.contract.target) if "forest" in recipe.algorithm
    )
    end = len(prepared.labels) + learnt
    model = models.fit(forest, learned.vectors[:end], learned.labels[:end], prepared.contract.target.n_classes)
    lineage = Lineage("", training.metric_of(project, prepared.contract.target), feedback_row=learnt)
    manifest = publish(home.artifacts, prepared, project.project.name, forest, model, {}, lineage)
    replaced = home.artifacts.champion_version()
    home.artifacts.promote(manifest.version, replacing=replaced, reason="for the benchmark", actor="benchmark")


def measure(home: Home) -> tuple[Run, Peak]:
    """One training run of the real trainer: how it ended, and what it took."""
    store, temporary = home.store, home.folder / "tmp"
    identifier = store.runs.request("manual").id
    temporary.mkdir(exist_ok=True)
    command = ["-c", "from boucle.cli import main; main()", "trainer"]
    with (
        process(command, home.environment(TMPDIR=str(temporary)), home.folder / "trainer.log") as started,
        _watched(psutil.Process(started.pid), temporary) as peak,
    ):
        running = wait_for(lambda: _child(started.pid), "the run's process")
        # It ends some time after its verdict: the record in MLflow loads the new version.
        wait_for(lambda: not running.is_running(), "the run's process to end", HOURS)
    return store.runs.get(identifier), peak


@contextmanager
def _watched(supervisor: psutil.Process, temporary: Path) -> Iterator[Peak]:
    """The peak of the trainer's processes, and of the files in what is memory in the container."""
    peak, done = Peak(), threading.Event()

    def watch() -> None:
        while not done.wait(SECONDS_BETWEEN_LOOKS):
            looks = [_look(one) for one in (supervisor, *supervisor.children(recursive=True))]
            files = sum(_size(path) for path in temporary.rglob("*"))
            peak.counted = max(peak.counted, files / 1e6 + sum(counted for counted, _ in looks))
            peak.rss = max(peak.rss, *(rss for _, rss in looks))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def _look(one: psutil.Process) -> tuple[float, float]:
    """Megabytes that nobody can take from the process, pages shared with others in part; and its RSS."""
    try:
        lines = Path(f"/proc/{one.pid}/smaps_rollup").read_text().splitlines()[1:]
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return 0.0, 0.0
    kilobytes = {name: int(value.split()[0]) for name, value in (line.split(":") for line in lines)}
    return (kilobytes["Pss_Anon"] + kilobytes["Pss_Shmem"]) * 1024 / 1e6, kilobytes["Rss"] * 1024 / 1e6


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _child(supervisor: int) -> psutil.Process | None:
    """The process of the run: what the fork server, a child of the supervisor, has forked."""
    return next((run for server in psutil.Process(supervisor).children() for run in server.children()), None)


def _seconds(run: Run) -> float:
    if not run.started_at or not run.finished_at:
        return float("nan")
    return (datetime.fromisoformat(run.finished_at) - datetime.fromisoformat(run.started_at)).total_seconds()


def _project(target: str) -> str:
    """The project of this repository, which nothing but the benchmark retrains."""
    text = (ROOT / "project.toml").read_text().replace("enabled = true", "enabled = false")
    text = text.replace("k = 50 ", "k = 0 ").replace("versions = 10 ", "versions = 1 ")
    if target == "diagnosis":
        return text
    text = text.replace('target = "diagnosis"', f'target = "{target}"').replace("drop = []", 'drop = ["diagnosis"]')
    text = text.replace('"logistic_regression"', '"ridge"').replace('"balanced_accuracy"', '"mae"')
    return text.replace("drop = 0.05 ", "")


if __name__ == "__main__":
    typer.run(main)
