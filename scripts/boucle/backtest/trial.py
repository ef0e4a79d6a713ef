"""One learner's way through the stream: predict a batch, then learn its labels (Dawid, 1984: prequential)."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from boucle.arrays import FloatArray

Progress = Callable[[int, int, float], None]  # batches done, batches in all, seconds so far


@dataclass(frozen=True)
class Verdict:
    """What the loop decided when a batch's labels were known."""

    row: int
    verdict: str
    version: str | None
    recipe: str | None
    reason: str | None

    @property
    def promoted(self) -> bool:
        return self.verdict == "promoted"


class Learner(Protocol):
    """Whatever predicts a batch of rows, and afterwards may learn from their labels."""

    def predict(self, rows: slice) -> FloatArray:
        """Probabilities (n_rows, n_classes), or values (n_rows,) in a regression."""

    def learn(self, rows: slice) -> Verdict | None:
        """The labels of ``rows`` are known from now on."""

    @property
    def learnt(self) -> int:
        """How many labels it has been fitted on so far."""


@dataclass(frozen=True)
class Trial:
    """What a learner answered: ``answers`` for every row behind the reference, in the stream's order.

    ``seconds`` are those behind the reference rows, too.
    """

    batches: Sequence[slice]
    answers: FloatArray
    learnt: int
    verdicts: tuple[Verdict, ...]
    seconds: float

    @property
    def promotions(self) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if verdict.promoted]


def replay(begin: Callable[[], Learner], batches: Sequence[slice], progress: Progress) -> Trial:
    """The trial of the learner that ``begin`` gives, already fitted on the reference rows.

    The whole batch is predicted before any of its labels is learnt: the same delay for everybody.
    """
    learner = begin()
    started = time.perf_counter()
    answers, verdicts = [], []
    for number, rows in enumerate(batches, start=1):
        answers.append(learner.predict(rows))
        if number < len(batches):  # nobody would see what the last labels teach
            verdicts.append(learner.learn(rows))
        progress(number, len(batches), time.perf_counter() - started)
    decided = tuple(verdict for verdict in verdicts if verdict is not None)
    return Trial(batches, np.concatenate(answers), learner.learnt, decided, time.perf_counter() - started)
