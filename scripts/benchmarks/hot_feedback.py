"""What each step of `POST /feedback` costs inside serving, without HTTP: `python -m scripts.benchmarks.hot_feedback`.

Microseconds of CPU for one of 64 feedbacks that come together, as `scripts.benchmarks.hot_path` measures them; on
SQLite, with a log of 50,000 predictions. The kernel's share of a commit is included, waiting for the disk is not.
"""

import json
import tempfile
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

import numpy as np
import typer
from msgspec.structs import asdict
from uuid_utils import uuid7

from boucle.store import Feedback, Receipt, open_store
from boucle.store.chunks import pack, write
from boucle.store.predictions import PredictionLog
from scripts.benchmarks.hot_path import microseconds, trained
from serving import given
from serving.given import Given
from serving.predictor import Predictor
from serving.routes.feedback import written

CROWD, HISTORY, LOOPS = 64, 50_000, 20


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="boucle-hot-") as name:
        folder = Path(name)
        ((_, predictor),) = trained(folder, ["logistic_regression"])
        typer.echo("| step | µs |\n| --- | ---: |")
        for step, call, rows in _steps(predictor, folder):
            typer.echo(f"| {step} | {microseconds(call, LOOPS) / rows:.1f} |")


def _steps(predictor: Predictor, folder: Path) -> Iterator[tuple[str, Callable[[], object], int]]:
    store, version = open_store(f"sqlite:///{folder / 'boucle.db'}", folder, 0), predictor.version
    store.feedback.use(version.embedding)
    datum = json.dumps(predictor.contract.example).encode()
    records = [_read(predictor, datum).truth.input] * CROWD
    vectors = version.embedding.vectors(records)

    def store_crowd() -> Receipt:
        truths = [_read(predictor, datum).truth for _ in range(CROWD)]
        items = [Feedback(vector=vector, **asdict(truth)) for truth, vector in zip(truths, vectors, strict=True)]
        return store.feedback.add(items, version.embedding.id)[0]  # type: ignore[return-value]  # none comes twice

    receipt = store_crowd()
    identifiers = _history(predictor, datum, store.predictions)
    chosen = np.random.default_rng(0).choice(identifiers, (LOOPS, CROWD), replace=False).tolist()
    alone, scattered = cycle(chosen[0]), cycle(map(set, chosen))
    yield "read 30 named fields, prediction and target", lambda: _read(predictor, datum), 1
    yield "its prediction looked for in the log, alone", lambda: store.predictions.find(next(alone)), 1
    yield "the same for 64, from anywhere in the log", lambda: store.predictions.find_all(next(scattered)), CROWD
    yield "the same for 64 neighbours", lambda: store.predictions.find_all(set(identifiers[-CROWD:])), CROWD
    yield "embedded", lambda: version.embedding.vectors(records), CROWD
    yield "read and stored: row, line, commit", store_crowd, CROWD
    yield "the receipt written", lambda: written(receipt), 1


def _read(predictor: Predictor, datum: bytes) -> Given:
    values, _ = predictor.read(datum)
    record = predictor.record(values)
    return given.of_data(record, "benign", "malignant", given.identifier(None), predictor.version, record)


def _history(predictor: Predictor, datum: bytes, log: PredictionLog) -> list[str]:
    """Identifiers of the predictions that are logged now."""
    values, _ = predictor.read(datum)
    outputs, identifiers = predictor.version.scorer.row(values), [str(uuid7()) for _ in range(HISTORY)]
    rows = [write((identifier, 1e-5, values, "benign", outputs)) for identifier in identifiers]
    log.add(list(pack(predictor.source, rows)))
    return identifiers


if __name__ == "__main__":
    main()
