"""One file on its way through the loop, and the table that shows how far it came."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from webapp.answers import BatchPrediction, BatchProblem, Feedback, Label, Schema, label_text
from webapp.client import BatchAnswer
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
    def agreement(self) -> float | None:
        """The share of predictions that equal the file's label; None when there is no label to compare with."""
        labels = self.labels
        agrees = [p.prediction == labels[row] for row, p in self.predictions.items() if row in labels]
        return sum(agrees) / len(agrees) if agrees else None


def table(batch: Batch, schema: Schema) -> pd.DataFrame:
    """One line per row of the file: what was predicted beside what is true, the problem if any, then the input."""
    rows = range(1, len(batch.upload.rows) + 1)
    answers, labels = batch.predictions, batch.labels
    predicted = [label_text(answers[row].prediction) if row in answers else None for row in rows]
    actual = [label_text(labels[row]) if row in labels else None for row in rows]
    columns: dict[str, Sequence[object]] = {"row": rows, "predicted": predicted, true_column(schema): actual}
    if batch.upload.labels is not None:
        columns["agrees"] = [
            None if a is None or b is None else "✓" if a == b else "✗" for a, b in zip(predicted, actual, strict=True)
        ]
    columns["confidence"] = [answers[row].confidence if row in answers else None for row in rows]
    columns["problem"] = [batch.upload.faults.get(row) or _problem(batch.answers.get(row)) for row in rows]
    columns["model version"] = [answers[row].model_version if row in answers else None for row in rows]
    inputs = {_unique(f.name, columns): _cells([row.get(f.name) for row in batch.upload.rows]) for f in schema.fields}
    # A column of nothing but None has no type of its own; the editor needs to know that labels are text.
    return pd.DataFrame({**columns, **inputs}).astype({"confidence": float, true_column(schema): "string"})


def true_column(schema: Schema) -> str:
    """The name of the column that holds what is true."""
    return f"true {schema.target}"


def _unique(name: str, taken: dict[str, Sequence[object]]) -> str:
    return f"{name} (input)" if name in taken else name


def _cells(values: list[object]) -> "pd.Series":
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
