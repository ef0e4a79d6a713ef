"""What each step of `POST /predict` costs inside serving, without HTTP: `python -m scripts.benchmarks.hot_path`.

Microseconds of CPU, the best of many repetitions: the other processes of a busy machine move them little. Trains a
model of each kind on scikit-learn's breast cancer table (30 columns) in a temporary folder.
"""

import json
import os
import tempfile
import time
import timeit
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import typer
from uuid_utils import uuid7

from boucle import training
from boucle.artifacts import Artifacts
from boucle.config import Project
from boucle.preparation import load, prepare
from boucle.store.chunks import pack, write
from serving import metrics
from serving.hot import HotPath
from serving.journal import Journal
from serving.live import LiveModel
from serving.predictor import Predictor, encode
from tests.support import NoTracking

ALGORITHMS = ("logistic_regression", "random_forest", "hist_gradient_boosting", "mlp")
REPETITIONS, LOOPS = 15, 5_000


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="boucle-hot-") as folder:
        predictors = dict(trained(Path(folder)))
    linear = predictors["logistic_regression"]
    body = json.dumps(linear.contract.example).encode()
    values, warnings = linear.read(body)
    outputs = linear.version.scorer.row(values)
    answer, seconds = linear.answer(values, warnings)
    tally, source, journal = metrics.Tally(), linear.source, Journal(None, 10**9)  # type: ignore[arg-type]
    rows = [write((str(uuid7()), seconds, values, answer.prediction, outputs)) for _ in range(250)]
    steps: dict[str, Callable[[], object]] = {
        "read 30 named fields, with types and ranges": lambda: linear.read(body),
        **{
            f"score, {name.replace('_', ' ')}": lambda row=one.version.scorer.row: row(values)
            for name, one in predictors.items()
        },
        "identifier": lambda: str(uuid7()),
        "label": lambda: linear.decode(outputs),
        "written into the journal's queue": lambda: journal.put(
            source, "", seconds, values, answer.prediction, outputs
        ),
        "write the answer": lambda: encode(answer),
        "metrics": lambda: (tally.prediction("v1", seconds), tally.request(seconds)),
    }
    typer.echo("| step | µs |\n| --- | ---: |")
    for name, step in steps.items():
        typer.echo(f"| {name} | {microseconds(step):.2f} |")
    packing = microseconds(lambda: list(pack(source, rows)), 200) / len(rows)
    typer.echo(f"| packing for the log, in the journal's thread | {packing:.2f} |")
    for name, one in predictors.items():
        typer.echo(f"| the whole hot path, {name.replace('_', ' ')} | {_whole(one, body, tally):.1f} |")


def trained(folder: Path, algorithms: Sequence[str] = ALGORITHMS) -> Iterator[tuple[str, Predictor]]:
    """A predictor of each algorithm."""
    for name in algorithms:
        project = Project(
            data={"source": "sklearn:breast_cancer", "target": "diagnosis"}, training={"candidates": [name]}
        )
        prepare(project, folder, _silent)
        artifacts = Artifacts(folder / name)
        training.train(project, load(folder), artifacts, NoTracking(), _silent, "benchmark")
        yield name, Predictor(artifacts.load_served(), Journal(None, 10**9))  # type: ignore[arg-type]


def _silent(_: str) -> None:
    pass


def microseconds(step: Callable[[], object], loops: int = LOOPS) -> float:
    """CPU of one call."""
    return min(timeit.repeat(step, number=loops, repeat=REPETITIONS, timer=time.process_time)) / loops * 1e6


def _whole(predictor: Predictor, body: bytes, tally: metrics.Tally) -> float:
    live = LiveModel()
    live.swap(predictor)
    hot = HotPath(None, live, tally, 10**6)  # type: ignore[arg-type]  # nothing is handed on
    headers = [(b"host", b"127.0.0.1:8080"), (b"content-type", b"application/json"), (b"content-length", b"800")]
    return microseconds(lambda: hot.answer(headers, body))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
