"""The rows that an observation is made of: of the reference, served, labelled."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from boucle import files, preparation
from boucle.arrays import FloatArray
from boucle.artifacts import ServedVersion
from boucle.contract import Classes, Contract, Label, Record, Target
from boucle.errors import InvalidRecord
from boucle.monitoring.observation import FOLDER
from boucle.store import Feedback, GivenFeedback, LoggedPrediction, Store

MOST_REFERENCE_ROWS = 2_000


@dataclass(frozen=True)
class Row:
    """A datum and the answer to it; ``row`` is its feedback's number, ``confidence`` its highest probability."""

    input: Record
    prediction: Label
    target: Label | None = None
    prediction_id: str = ""
    created_at: str = ""
    model_version: str = ""
    row: int | None = None
    confidence: float | None = None
    delay_seconds: float | None = None


@dataclass(frozen=True)
class Reference:
    """What production is compared with: the reference rows, and held-out rows that the champion never saw.

    The predictions of both are the champion's.
    """

    contract: Contract
    rows: list[Row]
    held_out: list[Row]


@dataclass(frozen=True)
class Windows:
    """The newest rows of production, in the order in which they came; ``served`` knows the true values that came."""

    served: list[Row]
    labelled: list[Row]


def read_reference(data: Path, champion: ServedVersion, seed: int) -> Reference:
    """At most `MOST_REFERENCE_ROWS` of each kind, drawn at random.

    Raises:
        NotPrepared: when ``data`` holds no preparation.
    """
    prepared = preparation.load(data)
    target = prepared.contract.target
    truths = [_label(target, value) for value in prepared.labels.tolist()]
    held_out = [_label(target, value) for value in prepared.test_labels.tolist()]
    return Reference(
        champion.contract,
        _answered(champion, prepared.reference_records, truths, seed),
        _answered(champion, prepared.test_records, held_out, seed),
    )


def read_windows(store: Store, contract: Contract, size: int) -> Windows:
    """The newest predictions and the newest accepted feedback, as far as they fit the contract.

    Clients may bring data of their own with the feedback: where nothing is logged, the labelled rows are the served.
    """
    labelled = list(_labelled(store.feedback.newest(size), contract))
    logged = store.predictions.newest(size)
    truths = store.feedback.targets_of([one.prediction_id for one in logged])
    return Windows(list(_served(logged, truths, contract)) or labelled, labelled)


def write(data: Path, reference: Reference, windows: Windows) -> None:
    """Each of them as a CSV file, whole, for the reports and for whoever wants to recompute a number."""
    names = reference.contract.names
    tables = {
        "reference": reference.rows,
        "held_out": reference.held_out,
        "served": windows.served,
        "labelled": windows.labelled,
    }
    for name, rows in tables.items():
        files.replace(data / FOLDER / f"{name}.csv", _csv(names, rows))


def outputs(version: ServedVersion, records: Sequence[Record]) -> FloatArray:
    """The version's outputs of validated records, shape (n_records, n_outputs)."""
    return version.scorer.matrix([[record[name] for record in records] for name in version.contract.names])


def _answered(champion: ServedVersion, records: Sequence[Record], truths: Sequence[Label], seed: int) -> list[Row]:
    chosen = np.random.default_rng(seed).permutation(len(records))[:MOST_REFERENCE_ROWS]
    fitting = [(fit, truths[place]) for place in np.sort(chosen) if (fit := _fit(champion.contract, records[place]))]
    if not fitting:
        return []
    target = champion.contract.target
    answers = outputs(champion, [record for record, _ in fitting])
    has_classes = isinstance(target, Classes)
    return [
        Row(record, target.decode(answer), truth, confidence=max(answer) if has_classes else None)
        for (record, truth), answer in zip(fitting, answers.tolist(), strict=True)
    ]


def _labelled(given: Sequence[GivenFeedback], contract: Contract) -> Iterator[Row]:
    for one in given:
        record = _fit(contract, one.input)
        if record and _is_possible(contract.target, one):
            yield Row(
                record,
                one.prediction,
                one.target,
                one.prediction_id,
                one.created_at,
                one.model_version or "",
                one.row,
                delay_seconds=one.delay_seconds,
            )


def _served(logged: Sequence[LoggedPrediction], truths: dict[str, Label], contract: Contract) -> Iterator[Row]:
    for one in logged:
        record = _fit(contract, one.input)
        if record:
            yield Row(
                record,
                one.prediction,
                truths.get(one.prediction_id),
                one.prediction_id,
                one.created_at,
                one.model_version,
                confidence=max(one.probabilities.values(), default=None),
            )


def _fit(contract: Contract, record: Record) -> Record | None:
    """The record in the contract's order; None if it was served under a contract that has changed since."""
    try:
        return contract.validate_record(record)
    except InvalidRecord:
        return None


def _is_possible(target: Target, given: Feedback) -> bool:
    try:
        return all(target.index(value) is not None for value in (given.target, given.prediction))
    except InvalidRecord:
        return False


def _label(target: Target, value: float) -> Label:
    return target.classes[int(value)] if isinstance(target, Classes) else float(value)


def _csv(names: Sequence[str], rows: Sequence[Row]) -> bytes:
    # A dot in them: a column of the data may be called target or prediction too.
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    about = ("row", "prediction_id", "created_at", "model_version", "confidence", "delay_seconds")
    writer.writerow([*(f"boucle.{name}" for name in about), *names, "boucle.target", "boucle.prediction"])
    for row in rows:
        writer.writerow(
            [*(getattr(row, name) for name in about), *(row.input[name] for name in names), row.target, row.prediction]
        )
    return text.getvalue().encode()
