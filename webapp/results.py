"""One file on its way through the loop, and the table that shows how far it came."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeGuard

import pandas as pd

from webapp.answers import BatchPrediction, BatchProblem, Feedback, Label, label_text
from webapp.client import BatchAnswer
from webapp.schema import Schema
from webapp.uploads import Upload


@dataclass
class Batch:
    """A file with what the API answered to it; it lives in the session, so that nothing is asked or sent twice.

    Rows are counted from 1, as the API counts them.
    """

    file_id: str
    upload: Upload
    answers: dict[int, BatchAnswer] = field(default_factory=dict)
    receipts: dict[int, Feedback] = field(default_factory=dict)
    refusals: dict[int, str] = field(default_factory=dict)

    @property
    def predictions(self) -> dict[int, BatchPrediction]:
        return {row: answer for row, answer in self.answers.items() if isinstance(answer, BatchPrediction)}

    @property
    def labels(self) -> dict[int, Label]:
        """The labels that the file itself holds."""
        return {row: label for row, label in enumerate(self.upload.labels or (), 1) if label is not None}

    @property
    def errors(self) -> dict[int, float]:
        """How far each predicted number is off the file's, above or below."""
        pairs = {row: (p.prediction, self.labels[row]) for row, p in self.predictions.items() if row in self.labels}
        return {row: float(a) - float(b) for row, (a, b) in pairs.items() if _is_number(a) and _is_number(b)}

    @property
    def agreement(self) -> float | None:
        """The share of predictions that equal the file's label; None when there is no label to compare with."""
        labels = self.labels
        agrees = [p.prediction == labels[row] for row, p in self.predictions.items() if row in labels]
        return sum(agrees) / len(agrees) if agrees else None


def table(batch: Batch, schema: Schema) -> pd.DataFrame:
    """One line per row of the file: what was predicted beside what is true, the problem if any, then the input."""
    rows = range(1, len(batch.upload.rows) + 1)
    answers = batch.predictions
    columns: dict[str, Sequence[object] | pd.Series] = {"row": rows}
    columns |= _numbers(batch, schema, rows) if schema.is_numeric else _classes(batch, schema, rows)
    columns["problem"] = [batch.upload.faults.get(row) or _problem(batch.answers.get(row)) for row in rows]
    columns["model version"] = [answers[row].model_version if row in answers else None for row in rows]
    inputs = {_unique(f.name, columns): _cells([row.get(f.name) for row in batch.upload.rows]) for f in schema.fields}
    return pd.DataFrame({**columns, **inputs})


def _classes(batch: Batch, schema: Schema, rows: range) -> dict[str, pd.Series]:
    answers, labels = batch.predictions, batch.labels
    predicted = [label_text(answers[row].prediction) if row in answers else None for row in rows]
    true = batch.upload.new_classes | labels
    actual = [label_text(true[row]) if row in true else None for row in rows]
    # A column of nothing but None has no type of its own; the editor needs to know that labels are text.
    columns = {"predicted": pd.Series(predicted, dtype=object), true_column(schema): pd.Series(actual, dtype="string")}
    if batch.upload.labels is not None:
        agrees = [
            None if a is None or b is None else "✓" if a == b else "✗" for a, b in zip(predicted, actual, strict=True)
        ]
        columns["agrees"] = pd.Series(agrees, dtype=object)
    confidence = [answers[row].confidence if row in answers else None for row in rows]
    return columns | {"confidence": pd.Series(confidence, dtype=float)}


def _numbers(batch: Batch, schema: Schema, rows: range) -> dict[str, pd.Series]:
    answers, labels, errors = batch.predictions, batch.labels, batch.errors
    predicted = [answers[row].prediction if row in answers else None for row in rows]
    actual = [labels.get(row) for row in rows]
    columns = {"predicted": pd.Series(predicted, dtype=float), true_column(schema): pd.Series(actual, dtype=float)}
    if batch.upload.labels is not None:
        off = [abs(errors[row]) if row in errors else None for row in rows]
        columns["off by"] = pd.Series(off, dtype=float)
    return columns


def true_column(schema: Schema) -> str:
    """The name of the column that holds what is true."""
    return f"true {schema.target}"


def _unique(name: str, taken: Mapping[str, object]) -> str:
    return f"{name} (input)" if name in taken else name


def _is_number(label: Label) -> TypeGuard[int | float]:
    return isinstance(label, int | float)


def _cells(values: list[object]) -> pd.Series:
    """The column as numbers when every cell is one, else as text: a table cannot mix them."""
    cells = pd.Series([None if value == "" else value for value in values], dtype=object)
    try:
        return pd.Series(pd.to_numeric(cells))
    except (ValueError, TypeError, OverflowError):
        return cells.map(str, na_action="ignore")


def _problem(answer: BatchAnswer | None) -> str | None:
    if answer is None:
        return "no answer"
    if isinstance(answer, BatchProblem):
        return str(answer.error)
    return "; ".join(f"note: {warning}" for warning in answer.warnings) or None
