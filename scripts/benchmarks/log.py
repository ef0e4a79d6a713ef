"""What the prediction log costs: CPU of a prediction, and the time of its questions as the history grows.

Seconds depend on the machine; the ratios should not.
"""

import random
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import typer

from boucle.store import PredictionRow, PredictionSource, open_store
from boucle.store.chunks import pack, write
from boucle.store.predictions import PredictionLog
from serving.journal import Journal
from tests.support import new_id

COLUMNS, PREDICTIONS, FLUSHED, REPEATS = 30, 100_000, 2_000, 50
SOURCE = PredictionSource("v1", "champion", tuple(f"column {number}" for number in range(COLUMNS)), ("no", "yes"))


def main(rows: int = 1_000_000) -> None:
    """Print both tables."""
    with tempfile.TemporaryDirectory() as folder:
        log = open_store(f"sqlite:///{folder}/boucle.db", Path(folder), 50).predictions
        cost_of_a_prediction(log)
    with tempfile.TemporaryDirectory() as folder:
        log = open_store(f"sqlite:///{folder}/boucle.db", Path(folder), 50).predictions
        cost_of_questions(log, rows)


def cost_of_a_prediction(log: PredictionLog) -> None:
    """CPU of `Journal.put`, and of the writer behind it."""
    given = _rows(PREDICTIONS, datetime.now(UTC))
    journal, put, written = Journal(log, PREDICTIONS), 0.0, 0.0
    for first in range(0, PREDICTIONS, FLUSHED):
        started = time.process_time()
        for row in given[first : first + FLUSHED]:
            journal.put(SOURCE, *row)
        put -= started - time.process_time()
        started = time.process_time()
        journal.flush()
        written -= started - time.process_time()
    typer.echo("CPU of a prediction, µs")
    typer.echo(f"  put     {1e6 * put / PREDICTIONS:6.2f}")
    typer.echo(f"  written {1e6 * written / PREDICTIONS:6.2f}")


def cost_of_questions(log: PredictionLog, rows: int) -> None:
    """Medians, of a log with a hundred predictions a second."""
    typer.echo("\nquestions, ms      find    newest 1000   count_after    last_used")
    start, logged, last = datetime(2026, 1, 1, tzinfo=UTC), 0, ""
    for size in (10**power for power in range(3, 10) if 10**power <= rows):
        while logged < size:
            batch = [
                row for second in range(10) for row in _rows(100, start + timedelta(seconds=logged / 100 + second))
            ]
            log.add(list(pack(SOURCE, [write(row) for row in batch])))
            logged, last = logged + len(batch), batch[-1][0]
        asked: list[Callable[[], object]] = [
            lambda: log.find(last),  # noqa: B023 - asked before the loop goes on
            lambda: log.newest(1_000),
            lambda: log.count_after(last, 200),  # noqa: B023
            log.last_used,
        ]
        typer.echo(f"  {logged:>9,} " + "".join(f"{1000 * _median(question):13.2f}" for question in asked))


def _rows(number: int, moment: datetime) -> list[PredictionRow]:
    # Not for anybody to guess, only to be as long as real ones.
    return [
        (new_id(moment), 0.0001, tuple(random.gauss(0, 100) for _ in range(COLUMNS)), "yes", [0.25, 0.75])
        for _ in range(number)
    ]


def _median(question: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        question()
        times.append(time.perf_counter() - started)
    return sorted(times)[REPEATS // 2]


if __name__ == "__main__":
    typer.run(main)
