"""The prediction log: what was asked, what was answered, by which version."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from boucle.contract import Label, Record
from boucle.store.database import PREDICTIONS, Database

BATCH = 500
PAUSE_SECONDS = 0.05


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

    def last_used(self) -> dict[str, str]:
        """Every version that the log names, with the time of its newest prediction.

        Costs a few steps in an index per version, however many predictions there are.
        """
        version, created_at = PREDICTIONS.c.model_version, PREDICTIONS.c.created_at
        newest = sa.select(version, created_at).order_by(version.desc(), created_at.desc()).limit(1)
        found: dict[str, str] = {}
        with self._database.reading() as connection:
            row = connection.execute(newest).one_or_none()
            while row is not None:
                found[row.model_version] = row.created_at
                row = connection.execute(newest.where(version < row.model_version)).one_or_none()
        return found

    def older_than(self, moment: str) -> int:
        """How many predictions were made before ``moment``."""
        query = sa.select(sa.func.count()).select_from(PREDICTIONS)
        versions = self.last_used()
        with self._database.reading() as connection:
            return sum(connection.execute(query.where(_old(name, moment))).scalar_one() for name in versions)

    def prune(self, moment: str, most: int) -> int:
        """Delete predictions that were made before ``moment``, ``most`` at most; how many.

        In small transactions with pauses between them: feedback and the log's writer wait for none of them long.
        """
        deleted = 0
        for version in self.last_used():
            while deleted < most:
                batch = self._delete_oldest(version, moment, min(BATCH, most - deleted))
                deleted += batch
                if batch < BATCH:
                    break
                time.sleep(PAUSE_SECONDS)
        return deleted

    def count(self) -> int:
        """How many predictions are logged."""
        with self._database.reading() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(PREDICTIONS)).scalar_one()

    def _delete_oldest(self, version: str, moment: str, most: int) -> int:
        oldest = sa.select(PREDICTIONS.c.prediction_id).where(_old(version, moment))
        chosen = oldest.order_by(PREDICTIONS.c.created_at).limit(most)
        with self._database.writing() as connection:
            return connection.execute(sa.delete(PREDICTIONS).where(PREDICTIONS.c.prediction_id.in_(chosen))).rowcount


def _old(version: str, moment: str) -> sa.ColumnElement[bool]:
    # With the version, although it does not matter here: so the index that starts with it is used.
    return sa.and_(PREDICTIONS.c.model_version == version, PREDICTIONS.c.created_at < moment)


def _logged(row: sa.Row[Any]) -> LoggedPrediction:
    parsed = {name: json.loads(row._mapping[name]) for name in ("input", "prediction", "probabilities")}
    return LoggedPrediction(**{**row._mapping, **parsed})
