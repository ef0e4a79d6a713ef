"""What the loop costs, as ratios within one run: feedback on a long history, predictions beside a training run.

Run by `make bench-training`. Seconds depend on the machine; the ratios should not.
"""

import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import requests
import typer

from boucle.store import Feedback
from tests.support import PROJECT, Home, serving, trainer, wait_for

SHORT, TRAINED, LONG = 10, 10_000, 1_000_000
FOREST = PROJECT.replace("logistic_regression", "random_forest").replace("k = 50", "k = 100_000_000")
GROW = """
    WITH RECURSIVE numbers (number) AS (SELECT :last + 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < :rows)
    INSERT INTO feedback
        (row, prediction_id, created_at, input, vector, target, prediction, model_version, status, line_end)
    SELECT number, 'copy ' || number, created_at, input, vector, target, prediction, model_version, status,
           :header + number * :line
    FROM numbers, feedback WHERE feedback.row = 1
"""
REPEATS = 300
SECONDS = 8.0


def main(rows: int = LONG) -> None:
    """Print both tables."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home").write(FOREST)
        typer.echo("preparing and training …")
        home.train()
        feedback_cost(home, rows)
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home").write(FOREST)
        home.train()
        grow(home, TRAINED)
        prediction_latency(home)


def feedback_cost(home: Home, rows: int) -> None:
    """A feedback over HTTP, on a short history and on a long one."""
    grow(home, SHORT)
    short = _time_feedback(home)
    typer.echo(f"growing the history to {rows:,} rows …")
    grow(home, rows)
    long = _time_feedback(home)
    typer.echo("\nfeedback, ms          p50      p99")
    for name, times in ((f"{SHORT:>9,} rows", short), (f"{rows:>9,} rows", long)):
        typer.echo(f"  {name:16} {1000 * np.median(times):8.2f} {1000 * np.quantile(times, 0.99):8.2f}")
    typer.echo(f"  ratio of medians {np.median(long) / np.median(short):8.2f}")


def prediction_latency(home: Home) -> None:
    """Predictions over HTTP, quiet and while the trainer works."""
    record = home.preparation.test_records[0]
    with serving(home, workers=1) as url, trainer(home):
        quiet = _time(lambda: requests.post(f"{url}/predict", json=record, timeout=30), seconds=SECONDS)
        requests.post(f"{url}/retrain", timeout=30).raise_for_status()
        wait_for(lambda: _state(url) == "running", "the run to start")
        busy: list[float] = []
        while _state(url) == "running":
            busy += _time(lambda: requests.post(f"{url}/predict", json=record, timeout=30), seconds=0.5)
    typer.echo("\npredict, ms           p50      p99   requests")
    for name, times in (("quiet", quiet), ("beside training", busy)):
        typer.echo(
            f"  {name:16} {1000 * np.median(times):8.2f} {1000 * np.quantile(times, 0.99):8.2f} {len(times):10,}"
        )
    typer.echo(f"  ratio of p99     {np.quantile(busy, 0.99) / np.quantile(quiet, 0.99):8.2f}")


def grow(home: Home, rows: int) -> None:
    """Copy the first feedback row and its line until there are ``rows`` of them."""
    store, embedding = home.store, home.preparation.embedding
    store.feedback.use(embedding)
    record = home.preparation.test_records[0]
    item = Feedback("first", record, embedding.vectors([record])[0], "benign", "benign", "v1")
    store.feedback.add([item], embedding.id)
    header, line = home.prod_data.read_bytes().splitlines(keepends=True)[:2]
    with sqlite3.connect(home.places.data / "boucle.db") as connection:
        connection.execute(
            GROW, {"last": store.feedback.rows(), "rows": rows, "header": len(header), "line": len(line)}
        )
    store.feedback.repair_projection()


def _time_feedback(home: Home) -> list[float]:
    record = home.preparation.test_records[0]
    body = {"data": record, "prediction": "benign", "target": "benign"}
    with serving(home, workers=1) as url:
        session = requests.Session()
        return _time(lambda: session.post(f"{url}/feedback", json=body, timeout=60), repeats=REPEATS)


def _time(call: Callable[[], requests.Response], repeats: int = 0, seconds: float = 0.0) -> list[float]:
    times: list[float] = []
    until = time.perf_counter() + seconds
    while len(times) < repeats or time.perf_counter() < until:
        started = time.perf_counter()
        call().raise_for_status()
        times.append(time.perf_counter() - started)
    return times


def _state(url: str) -> str:
    return str(requests.get(f"{url}/retrain", timeout=30).json()["runs"][0]["state"])


if __name__ == "__main__":
    typer.run(main)
