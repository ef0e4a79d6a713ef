"""The real code as learners: preparation, training, store, trainer and artifacts; only HTTP is left out."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from boucle import evaluation, preparation, training
from boucle.arrays import FloatArray
from boucle.artifacts import Artifacts, Manifest, ModelVersion
from boucle.backtest.stream import Stream
from boucle.backtest.trial import Learner, Verdict
from boucle.config import Project
from boucle.contract import Record
from boucle.embedding import Embedding
from boucle.models import Model, Recipe
from boucle.preparation import Preparation, Report
from boucle.retraining import Trainer
from boucle.store import Feedback, open_store

REGRESSION_SCORES = {"mae": mean_absolute_error, "rmse": root_mean_squared_error, "r2": r2_score}
ERRORS = ("mae", "rmse")


def score(metric: str, labels: FloatArray | np.ndarray[tuple[int], np.dtype[np.int64]], answers: FloatArray) -> float:
    """The metric of probabilities (n_rows, n_classes), or of values (n_rows,), against the labels (n_rows,)."""
    if metric in REGRESSION_SCORES:
        return float(REGRESSION_SCORES[metric](labels, answers))
    return evaluation.score(metric, labels.astype(np.int64), answers)


def lower_is_better(metric: str) -> bool:
    """Whether the metric is an error."""
    return metric in ERRORS


class Untracked:
    """A tracker that records nothing: a backtest is no part of the project's history."""

    def start(self, name: str) -> str | None:
        return None

    def log(self, run_id: str | None, metrics: Mapping[str, float], tags: Mapping[str, str]) -> None:
        pass

    def register(self, manifest: Manifest, folder: Path, model: Model, embedding: Embedding) -> None:
        pass


@dataclass(frozen=True)
class Trained:
    """A project in a folder of its own, with its first champion."""

    project: Project
    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def artifacts(self) -> Artifacts:
        return Artifacts(self.folder / "artifacts")


def train(project: Project, folder: Path, report: Report) -> Trained:
    """What `make train` would make of the reference rows, in ``folder``."""
    trained = Trained(project, folder)
    prepared = preparation.prepare(project, trained.data, report)
    training.train(project, prepared, trained.artifacts, Untracked(), report, actor="backtest")
    return trained


def frozen(stream: Stream, trained: Trained) -> Callable[[], Learner]:
    """The first champion for ever."""
    return lambda: Frozen(stream, trained.artifacts.load_champion())


def recipes_alone(stream: Stream, trained: Trained) -> dict[str, Callable[[], Learner]]:
    """By name, each recipe fitted anew on everything so far after every batch, and always deployed."""
    prepared = preparation.load(trained.data)
    return {
        f"{recipe.algorithm} alone": partial(RecipeAlone, stream, prepared, recipe)
        for recipe in training.recipes(trained.project)
    }


def loop(stream: Stream, trained: Trained, folder: Path) -> Callable[[], Learner]:
    """The whole loop, each time from a fresh copy of ``trained`` in ``folder``."""

    def begin() -> Learner:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(trained.folder, folder)
        return Loop(stream, Trained(trained.project, folder))

    return begin


class Frozen:
    """A champion that nobody replaces."""

    def __init__(self, stream: Stream, champion: ModelVersion) -> None:
        self._stream = stream
        self._champion = champion
        self.learnt = champion.manifest.reference_rows

    def predict(self, rows: slice) -> FloatArray:
        return self._champion.probabilities(_validated(self._champion, self._stream, rows))

    def learn(self, rows: slice) -> Verdict | None:
        return None


class RecipeAlone:
    """One recipe without exam or champion."""

    def __init__(self, stream: Stream, prepared: Preparation, recipe: Recipe) -> None:
        self._stream = stream
        self._embedding = prepared.embedding
        self._fit = training.fitter(recipe, prepared)
        self._vectors = [prepared.vectors]
        self.learnt = stream.reference
        self._model = self._fit(prepared.vectors, prepared.labels)

    def predict(self, rows: slice) -> FloatArray:
        return self._model.probabilities(self._embedding.vectors(self._records(rows)))

    def learn(self, rows: slice) -> Verdict | None:
        self._vectors.append(self._embedding.vectors(self._records(rows)))
        self.learnt = rows.stop
        self._model = self._fit(np.concatenate(self._vectors), self._stream.labels[: rows.stop].astype(np.int64))
        return None

    def _records(self, rows: slice) -> list[Record]:
        return [self._embedding.contract.validate_record(record) for record in self._stream.records[rows]]


class Loop:
    """Serving's, the store's and the trainer's part of the loop, in one process."""

    def __init__(self, stream: Stream, trained: Trained) -> None:
        self._stream = stream
        self._artifacts = trained.artifacts
        # Every batch asks for its run by itself; k asks for none.
        never = len(stream) + 1
        self._store = open_store(f"sqlite:///{trained.folder / 'boucle.db'}", trained.data, k=never)
        self._trainer = Trainer(trained.project, trained.data, self._artifacts, self._store, Untracked())
        self._champion = self._artifacts.load_champion()
        self._answers = np.empty((0, 0))

    @property
    def learnt(self) -> int:
        return self._champion.manifest.reference_rows + self._store.feedback.rows()

    def predict(self, rows: slice) -> FloatArray:
        self._champion = self._artifacts.load_champion()
        self._answers = self._champion.probabilities(_validated(self._champion, self._stream, rows))
        return self._answers

    def learn(self, rows: slice) -> Verdict | None:
        embedding = self._champion.embedding
        self._store.feedback.use(embedding)
        self._store.feedback.add(self._feedback(rows), embedding.id)
        self._store.runs.request("backtest")
        run = self._trainer.carry_out_next()
        if run is None:
            return None
        return Verdict(rows.stop, run.verdict or run.state, run.version, run.strategy, run.reason)

    def _feedback(self, rows: slice) -> list[Feedback]:
        records = _validated(self._champion, self._stream, rows)
        vectors = self._champion.embedding.vectors(records)
        classes = self._champion.contract.target.classes
        return [
            Feedback(
                prediction_id=str(row),
                input=record,
                vector=vector,
                target=self._stream.classes[int(self._stream.labels[row])],
                prediction=classes[int(np.argmax(answer))],
                model_version=self._champion.version,
            )
            for row, record, vector, answer in zip(
                range(rows.start, rows.stop), records, vectors, self._answers, strict=True
            )
        ]


def _validated(version: ModelVersion, stream: Stream, rows: slice) -> list[Record]:
    return [version.contract.validate_record(record) for record in stream.records[rows]]
