"""The prediction log: what was asked, what was answered, by which version."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from boucle.contract import Label, Record
from boucle.store.database import PREDICTIONS, Database


@dataclass(frozen=True)
class LoggedPrediction:
    """One answered prediction; ``latency_seconds`` is what the model took."""

    prediction_id: str
    created_at: str
    model_version: str
    input: Record
    prediction: Label
    probabilities: dict[str, float]
    latency_seconds: float
    arm: str = "champion"
    client_id: str | None = None


class PredictionLog:
    """The table of predictions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, predictions: Sequence[LoggedPrediction]) -> None:
        """Store them all in one transaction; one that is there already stays as it is."""
        insert = sqlite.insert if self._database.engine.dialect.name == "sqlite" else postgresql.insert
        rows = [
            {
                "prediction_id": prediction.prediction_id,
                "created_at": prediction.created_at,
                "model_version": prediction.model_version,
                "arm": prediction.arm,
                "client_id": prediction.client_id,
                "input": json.dumps(prediction.input),
                "prediction": json.dumps(prediction.prediction),
                "probabilities": json.dumps(prediction.probabilities),
                "latency_seconds": prediction.latency_seconds,
            }
            for prediction in predictions
        ]
        with self._database.writing() as connection:
            connection.execute(insert(PREDICTIONS).on_conflict_do_nothing(), rows)

    def find(self, prediction_id: str) -> LoggedPrediction | None:
        """The prediction with this identifier, or None."""
        query = sa.select(PREDICTIONS).where(PREDICTIONS.c.prediction_id == prediction_id)
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _logged(row)

    def newest(self, limit: int) -> list[LoggedPrediction]:
        """The last predictions, in the order in which they were made, which is that of their identifiers."""
        query = sa.select(PREDICTIONS).order_by(PREDICTIONS.c.prediction_id.desc()).limit(limit)
        with self._database.reading() as connection:
            return [_logged(row) for row in connection.execute(query)][::-1]

    def count_after(self, prediction_id: str, limit: int) -> int:
        """How many were made after this one; counted up to ``limit``."""
        later = sa.select(PREDICTIONS.c.prediction_id).where(PREDICTIONS.c.prediction_id > prediction_id).limit(limit)
        with self._database.reading() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(later.subquery())).scalar_one()

    def count(self) -> int:
        """How many predictions are logged."""
        with self._database.reading() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(PREDICTIONS)).scalar_one()


def _logged(row: sa.Row[Any]) -> LoggedPrediction:
    parsed = {name: json.loads(row._mapping[name]) for name in ("input", "prediction", "probabilities")}
    return LoggedPrediction(**{**row._mapping, **parsed})
