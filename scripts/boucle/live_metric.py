"""How good the answers given in production were, as their true values came in: prequentially (Dawid, 1984)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from boucle import evaluation
from boucle.arrays import FloatArray, Labels
from boucle.contract import Label

BLOCKS = 10
# The gap between window and history, in standard errors, below which it may be chance. It is looked at again and again,
# and ten blocks know the error only roughly: hence more than the usual two.
STANDARD_ERRORS = 4.0

Answer = tuple[Label | float, Label | float]  # the true value, and the one that was predicted


@dataclass(frozen=True)
class Limits:
    """What is too bad: balanced accuracy below ``floor``, mean absolute error above ``ceiling``, a fall by ``drop``.

    ``drop`` is in the units of balanced accuracy; of a mean absolute error it is the share by which it has risen.
    """

    floor: float
    ceiling: float | None
    drop: float


@dataclass(frozen=True)
class _Answers:
    """Answers as a model would have given them: labels (n,) and outputs (n, width)."""

    metric: str
    labels: Labels
    outputs: FloatArray

    @property
    def score(self) -> float:
        return evaluation.score(self.metric, self.labels, self.outputs)

    def error(self, blocks: int) -> float:
        """Standard error of the score; neighbouring rows may resemble each other."""
        return evaluation.jackknife_error(
            lambda rest: evaluation.score(self.metric, self.labels[rest], self.outputs[rest]), len(self.labels), blocks
        )


def complaint(history: Sequence[Answer], window: Sequence[Answer], limits: Limits) -> str | None:
    """Why the answers of the window are too bad, in themselves or beside the history; None when they are not.

    A fall counts when it is at least ``drop`` and at least `STANDARD_ERRORS` standard errors, of the jackknife over
    contiguous blocks.
    """
    if any(isinstance(predicted, float) for _, predicted in window):
        return _complaint_on_errors(history, window, limits)
    # Classes that the window lacks would be compared with nothing.
    occurring = {str(true) for true, _ in window}
    comparable = [answer for answer in history if str(answer[0]) in occurring]
    now = _classes(window)
    live = now.score
    if live < limits.floor:
        return f"balanced accuracy of {live:.3f} on the last {len(window)} answers, below the floor {limits.floor:g}"
    if len(comparable) < len(window):
        return None
    past = _classes(comparable)
    before = past.score
    if before - live < limits.drop or not _is_beyond_chance(before - live, past, now):
        return None
    return f"balanced accuracy fell from {before:.3f} to {live:.3f} on the last {len(window)} answers"


def _complaint_on_errors(history: Sequence[Answer], window: Sequence[Answer], limits: Limits) -> str | None:
    now = _quantities(window)
    live = now.score
    if limits.ceiling is not None and live > limits.ceiling:
        return f"mean absolute error of {live:.4g} on the last {len(window)} answers, above {limits.ceiling:g}"
    if len(history) < len(window):
        return None
    past = _quantities(history)
    before = past.score
    if live - before < limits.drop * before or not _is_beyond_chance(live - before, past, now):
        return None
    return f"mean absolute error rose from {before:.4g} to {live:.4g} on the last {len(window)} answers"


def _is_beyond_chance(gap: float, history: _Answers, window: _Answers) -> bool:
    # The history's blocks are as long as the window's: its slow waves are part of what chance does.
    blocks = max(BLOCKS, BLOCKS * len(history.labels) // len(window.labels))
    return bool(gap > 0 and gap >= STANDARD_ERRORS * np.hypot(history.error(blocks), window.error(BLOCKS)))


def _classes(answers: Sequence[Answer]) -> _Answers:
    names, codes = np.unique([[str(true), str(predicted)] for true, predicted in answers], return_inverse=True)
    true, predicted = codes.reshape(-1, 2).T
    return _Answers("balanced_accuracy", true, np.eye(len(names))[predicted])


def _quantities(answers: Sequence[Answer]) -> _Answers:
    true, predicted = np.array(answers, dtype=np.float64).T
    return _Answers("mae", true, predicted[:, np.newaxis])
