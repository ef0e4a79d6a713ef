"""The streaming learners of the library river: they learn row by row, and forget by themselves when the data drift."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from river import compose, ensemble, forest, linear_model, optim, preprocessing

from boucle.arrays import FloatArray
from boucle.backtest.stream import Stream
from boucle.backtest.trial import Learner, Verdict
from boucle.contract import Record

MISSING = "missing"
FARTHEST = 1e12

Model = Any  # river's classifiers and regressors share methods, not a type
Cells = dict[str, float | str]


def learners(stream: Stream, seed: int) -> dict[str, Callable[[], Learner]]:
    """By name, what begins each of them on the reference rows."""
    models = (_regressors if stream.is_regression else _classifiers)(stream, seed)
    return {f"river {name}": partial(StreamingLearner, stream, model) for name, model in models.items()}


def _classifiers(stream: Stream, seed: int) -> dict[str, Model]:
    """river's own defaults: its trees split on texts as they are, a linear model needs one-hot columns."""
    kind = linear_model.LogisticRegression if stream.n_classes == 2 else linear_model.SoftmaxRegression
    return {
        "logistic regression": _scaled() + _one_hot() | kind(optimizer=optim.Adam()),
        "adaptive random forest": forest.ARFClassifier(seed=seed),
        "streaming random patches": ensemble.SRPClassifier(seed=seed),
    }


def _regressors(_: Stream, seed: int) -> dict[str, Model]:
    """river's own defaults: all of these compute with every column, so that texts become one-hot columns.

    Only the linear model needs its numbers scaled; the aggregated Mondrian forest is worse for it.
    """
    columns = compose.SelectType(float) + _one_hot()
    return {
        "linear regression": _scaled() + _one_hot() | linear_model.LinearRegression(optimizer=optim.Adam()),
        "aggregated Mondrian forest": columns | forest.AMFRegressor(seed=seed),
        "adaptive random forest": columns | forest.ARFRegressor(seed=seed),
        "streaming random patches": columns | ensemble.SRPRegressor(seed=seed),
    }


def _scaled() -> Model:
    return compose.SelectType(float) | preprocessing.StandardScaler()


def _one_hot() -> Model:
    return compose.SelectType(str) | preprocessing.OneHotEncoder()


@dataclass
class StreamingLearner:
    """A river model that has learnt the reference rows one by one.

    A missing number is the mean of the reference rows, a missing text a category of its own.
    """

    stream: Stream
    model: Model
    learnt: int = 0
    _means: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.model = self.model.clone()  # every phase begins with one that knows nothing
        reference = self.stream.records[: self.stream.reference]
        self._means = {name: _mean([record[name] for record in reference]) for name in numbers(self.stream)}
        self.learn(slice(0, self.stream.reference))

    def predict(self, rows: slice) -> FloatArray:
        cells = [self._cells(record) for record in self.stream.records[rows]]
        if self.stream.is_regression:
            values = [self.model.predict_one(one) for one in cells]
        else:
            positions = range(self.stream.n_classes)
            answers = [self.model.predict_proba_one(one) for one in cells]
            values = [[answer.get(position, 0.0) for position in positions] for answer in answers]
        # A linear model can run away from a far outlier; its answers are then wrong, not absent.
        return np.nan_to_num(np.array(values, dtype=np.float64), posinf=FARTHEST, neginf=-FARTHEST)

    def learn(self, rows: slice) -> Verdict | None:
        for record, label in zip(self.stream.records[rows], self.stream.labels[rows].tolist(), strict=True):
            self.model.learn_one(self._cells(record), label)
        self.learnt = rows.stop
        return None

    def _cells(self, record: Record) -> Cells:
        return {name: self._cell(name, value) for name, value in record.items()}

    def _cell(self, name: str, value: object) -> float | str:
        if name in self._means:
            return self._means[name] if value is None else float(value)  # type: ignore[arg-type]
        return MISSING if value is None else str(value)


def numbers(stream: Stream) -> list[str]:
    """The columns of numbers and of truths; the others hold texts."""
    texts = {name for record in stream.records for name, value in record.items() if isinstance(value, str)}
    return [name for name in stream.records[0] if name not in texts]


def _mean(values: list[Any]) -> float:
    known = [float(value) for value in values if value is not None]
    return float(np.mean(known)) if known else 0.0
