"""The real code as learners: preparation, training, store, trainer and artifacts; only HTTP is left out."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from boucle import evaluation, models, preparation, training
from boucle.arrays import FloatArray, Labels
from boucle.artifacts import Artifacts, ModelVersion
from boucle.backtest.stream import Stream
from boucle.backtest.trial import Learner, Verdict
from boucle.config import Project
from boucle.contract import Record
from boucle.errors import NotEnoughData
from boucle.models import FINE_TUNABLE, Model, Recipe
from boucle.preparation import Preparation, Report
from boucle.retraining import Trainer
from boucle.store import Feedback, open_store
from boucle.tracking import Record as TrackedRecord


def score(metric: str, labels: Labels, answers: FloatArray) -> float:
    """The metric of probabilities (n_rows, n_classes), or of values (n_rows,), against the labels (n_rows,)."""
    return evaluation.score(metric, labels, answers.reshape(len(labels), -1))


def lower_is_better(metric: str) -> bool:
    """Whether the metric is an error."""
    return metric in evaluation.ERRORS


def metric_of(project: Project, stream: Stream) -> str:
    """The metric that decides in this project."""
    return training.metric_of(project, stream.target)


class Untracked:
    """A tracker that records nothing: a backtest is no part of the project's history."""

    def start(self, name: str) -> str | None:
        return None

    def abandon(self, mlflow_run_id: str) -> None:
        pass

    def record(self, record: TrackedRecord) -> None:
        pass

    def point(self, champion: str, previous: str | None, reason: str, actor: str) -> None:
        pass

    def drain(self) -> None:
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
    settings, prepared = trained.project.training, preparation.load(trained.data)
    memories = {"scratch": None, "recency": settings.half_life, "window": settings.window, "fine_tune": None}
    found = [
        replace(recipe, strategy=strategy, memory=memories[strategy])
        for recipe in training.candidates(trained.project, prepared.embedding)
        for strategy in settings.strategies
        if strategy != "fine_tune" or recipe.algorithm in FINE_TUNABLE
    ]
    return {recipe.name: partial(RecipeAlone, stream, prepared, recipe) for recipe in found}


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
        return self._champion.outputs(_validated(self._champion, self._stream, rows))

    def learn(self, rows: slice) -> Verdict | None:
        return None


class RecipeAlone:
    """One recipe without exam or champion: deployed after every batch."""

    def __init__(self, stream: Stream, prepared: Preparation, recipe: Recipe) -> None:
        self._stream = stream
        self._embedding = prepared.embedding
        self._recipe = recipe
        self._vectors = [prepared.vectors]
        self.learnt = stream.reference
        self._model = models.fit(recipe, prepared.vectors, prepared.labels, stream.target.n_classes)

    def predict(self, rows: slice) -> FloatArray:
        return self._model.outputs(self._embedding.vectors(self._records(rows)))

    def learn(self, rows: slice) -> Verdict | None:
        self._vectors.append(self._embedding.vectors(self._records(rows)))
        self.learnt = rows.stop
        with suppress(NotEnoughData):  # a batch without some class: the model before serves on
            self._model = self._fitted(rows)
        return None

    def _fitted(self, rows: slice) -> Model:
        if self._recipe.strategy == "fine_tune":
            return models.fine_tune(self._model, self._recipe, self._vectors[-1], self._stream.labels[rows])
        labels = self._stream.labels[: rows.stop]
        return models.fit(self._recipe, np.concatenate(self._vectors), labels, self._stream.target.n_classes)

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
        self._answers = self._champion.outputs(_validated(self._champion, self._stream, rows))
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
        truths = self._stream.truths(rows)
        target = self._champion.contract.target
        return [
            Feedback(
                prediction_id=str(row),
                input=record,
                vector=vector,
                target=truths[row - rows.start],
                prediction=target.decode(answer.tolist()),
                model_version=self._champion.version,
            )
            for row, record, vector, answer in zip(
                range(rows.start, rows.stop), records, vectors, self._answers, strict=True
            )
        ]


def _validated(version: ModelVersion, stream: Stream, rows: slice) -> list[Record]:
    return [version.contract.validate_record(record) for record in stream.records[rows]]
