"""What every model must beat before its figures mean anything; none of them looks at a feature."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from boucle.arrays import FloatArray
from boucle.backtest.stream import Stream
from boucle.backtest.trial import Learner, Verdict


def learners(stream: Stream, metric: str) -> dict[str, Callable[[], Learner]]:
    """By name, what begins each of them."""
    if stream.is_regression:
        summary = np.median if metric == "mae" else np.mean  # what minimizes the metric
        usual: dict[str, Callable[[], Learner]] = {
            f"{summary.__name__} so far": lambda: ValueSoFar(stream, summary=summary)
        }
    else:
        usual = {"majority class so far": lambda: SharesSoFar(stream)}
    return {
        **usual,
        "last label before the batch": lambda: LastLabel(stream),
        "previous row's label, at once": lambda: PreviousRow(stream),
    }


@dataclass
class _Follower:
    """Knows the labels of every batch that is over."""

    stream: Stream
    learnt: int = 0

    def __post_init__(self) -> None:
        self.learnt = self.stream.reference

    def learn(self, rows: slice) -> Verdict | None:
        self.learnt = rows.stop
        return None


@dataclass
class SharesSoFar(_Follower):
    """Each class with its share of the labels so far, so that the most frequent one is the answer."""

    def predict(self, rows: slice) -> FloatArray:
        counts = np.bincount(self.stream.labels[: self.learnt].astype(np.int64), minlength=self.stream.n_classes)
        return np.tile(counts / self.learnt, (rows.stop - rows.start, 1))


@dataclass
class ValueSoFar(_Follower):
    """One number that sums up the labels so far."""

    summary: Callable[[FloatArray], float] = np.mean

    def predict(self, rows: slice) -> FloatArray:
        return np.full(rows.stop - rows.start, self.summary(self.stream.labels[: self.learnt].astype(np.float64)))


@dataclass
class LastLabel(_Follower):
    """The last label that was known before the batch, for the whole batch: the same delay as everybody's."""

    def predict(self, rows: slice) -> FloatArray:
        return _as_answers(self.stream, np.full(rows.stop - rows.start, self.learnt - 1))


@dataclass
class PreviousRow:
    """The label of the row before, known at once: no delay at all, a world that nobody else here lives in."""

    stream: Stream
    learnt: int = 0

    def predict(self, rows: slice) -> FloatArray:
        self.learnt = rows.stop - 1
        return _as_answers(self.stream, np.arange(rows.start, rows.stop) - 1)

    def learn(self, rows: slice) -> Verdict | None:
        return None


def _as_answers(stream: Stream, sources: FloatArray | np.ndarray[tuple[int], np.dtype[np.int64]]) -> FloatArray:
    """The labels of the rows ``sources`` in the shape of predictions."""
    labels = stream.labels[sources]
    if stream.is_regression:
        return labels.astype(np.float64)
    answers: FloatArray = np.eye(stream.n_classes)[labels.astype(np.int64)]
    return answers
