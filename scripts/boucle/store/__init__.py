"""Predictions, feedback, training runs, observations; and prod_data.csv, which shows the feedback table."""

from dataclasses import dataclass
from pathlib import Path

from boucle.store.chunks import LoggedPrediction, PredictionChunk, PredictionRow, PredictionSource
from boucle.store.database import Database, connect
from boucle.store.feedback import Feedback, FeedbackTable, GivenFeedback, Labelled, Receipt
from boucle.store.migration import migrate
from boucle.store.observations import Observations
from boucle.store.predictions import PredictionLog
from boucle.store.runs import Run, TrainingRuns

__all__ = [
    "Feedback",
    "GivenFeedback",
    "Labelled",
    "LoggedPrediction",
    "PredictionChunk",
    "PredictionRow",
    "PredictionSource",
    "Receipt",
    "Run",
    "Store",
    "TrainingRuns",
    "open_store",
]


@dataclass(frozen=True)
class Store:
    """The tables of one database."""

    predictions: PredictionLog
    feedback: FeedbackTable
    runs: TrainingRuns
    observations: Observations
    database: Database

    def close(self) -> None:
        """Close the connections; one that a forked process inherited would serve two masters."""
        self.database.engine.dispose()


def open_store(url: str, data: Path, k: int) -> Store:
    """The store at a SQLAlchemy URL, its tables made or migrated if they are not this code's.

    ``k``: every so many feedback rows request a training run; 0: they never do. prod_data.csv lies in ``data``.

    Raises:
        UnknownRevision: when a newer version of the code has migrated the database.
    """
    data.mkdir(parents=True, exist_ok=True)
    database = connect(url)
    migrate(database)
    runs = TrainingRuns(database)
    feedback = FeedbackTable(database, runs, data / "prod_data.csv", k)
    return Store(PredictionLog(database), feedback, runs, Observations(database), database)
