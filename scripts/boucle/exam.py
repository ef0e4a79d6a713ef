"""What an exam found: the record that the store keeps, MLflow shows and the webapp draws."""

import math
from typing import Any

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A value that is written as JSON and read back; an undefined score is None."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Challenger(Frozen):
    """One recipe's showing; ``validation`` and ``training`` hold, per fold, the score on it and on the rows fitted."""

    name: str
    algorithm: str
    strategy: str
    parameters: dict[str, Any]
    score: float | None
    validation: tuple[float | None, ...] = ()
    training: tuple[float | None, ...] = ()


class Fold(Frozen):
    """A contiguous part of the exam rows, by feedback row numbers, with both scores on it."""

    first_row: int
    last_row: int
    champion: float | None
    challenger: float | None


class Exam(Frozen):
    """The challenger beside the champion on the same rows.

    ``difference`` is the challenger's gain in the metric's units (for an error metric: the share of the champion's
    error that it saves); ``lower`` and ``upper`` bound it. ``look`` counts the exams that this champion has sat.
    """

    metric: str
    rows: int
    look: int
    champion: str
    champion_score: float | None
    challenger: str
    challenger_score: float | None
    difference: float | None
    lower: float | None
    upper: float | None
    margin: float
    tolerance: float
    strict: bool
    folds: tuple[Fold, ...]
    challengers: tuple[Challenger, ...]


def defined(score: float) -> float | None:
    """The score, or None for NaN and infinity, which JSON cannot say."""
    return score if math.isfinite(score) else None
