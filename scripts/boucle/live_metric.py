"""How good the answers given in production were, as their true values came in: prequentially (Dawid, 1984)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from boucle.arrays import FloatArray
from boucle.contract import Label

BLOCKS = 10
# The gap between window and history, in standard errors, below which it may be chance. It is looked at again and again,
# and ten blocks know the error only roughly: hence more than the usual two.
STANDARD_ERRORS = 4.0

Answer = tuple[Label | float, Label | float]  # the true value, and the one that was predicted
Score = Callable[[Sequence[Answer]], float]


@dataclass(frozen=True)
class Limits:
    """What is too bad: balanced accuracy below ``floor``, mean absolute error above ``ceiling``, a fall by ``drop``.

    ``drop`` is in the units of balanced accuracy; of a mean absolute error it is the share by which it has risen.
    """

    floor: float
    ceiling: float | None
    drop: float


def complaint(history: Sequence[Answer], window: Sequence[Answer], limits: Limits) -> str | None:
    """Why the answers of the window are too bad, in themselves or beside the history; None when they are not.

    A fall counts when it is at least ``drop`` and at least `STANDARD_ERRORS` standard errors. These come from the
    jackknife over contiguous blocks, as neighbouring rows may resemble each other: Künsch (1989), The jackknife and the
    bootstrap for general stationary observations, Annals of Statistics 17(3).
    """
    if any(isinstance(predicted, float) for _, predicted in window):
        return _complaint_on_errors(history, window, limits)
    # Classes that the window lacks would be compared with nothing.
    occurring = {str(true) for true, _ in window}
    comparable = [answer for answer in history if str(answer[0]) in occurring]
    live = balanced_accuracy(window)
    if live < limits.floor:
        return f"balanced accuracy of {live:.3f} on the last {len(window)} answers, below the floor {limits.floor:g}"
    if len(comparable) < len(window):
        return None
    before = balanced_accuracy(comparable)
    fall = before - live
    if fall < limits.drop or not _is_beyond_chance(fall, balanced_accuracy, comparable, window):
        return None
    return f"balanced accuracy fell from {before:.3f} to {live:.3f} on the last {len(window)} answers"


def balanced_accuracy(answers: Sequence[Answer]) -> float:
    """Mean share of right answers over the classes that occur (Brodersen et al., 2010)."""
    classes, codes = np.unique([str(true) for true, _ in answers], return_inverse=True)
    right = np.array([true == predicted for true, predicted in answers], dtype=np.float64)
    shares: FloatArray = np.bincount(codes, right, len(classes)) / np.bincount(codes, minlength=len(classes))
    return float(shares.mean())


def mean_absolute_error(answers: Sequence[Answer]) -> float:
    """Mean distance between true and predicted numbers."""
    return float(np.mean([abs(float(true) - float(predicted)) for true, predicted in answers]))


def _complaint_on_errors(history: Sequence[Answer], window: Sequence[Answer], limits: Limits) -> str | None:
    live = mean_absolute_error(window)
    if limits.ceiling is not None and live > limits.ceiling:
        return f"mean absolute error of {live:.4g} on the last {len(window)} answers, above {limits.ceiling:g}"
    if len(history) < len(window):
        return None
    before = mean_absolute_error(history)
    rise = live - before
    if rise < limits.drop * before or not _is_beyond_chance(rise, mean_absolute_error, history, window):
        return None
    return f"mean absolute error rose from {before:.4g} to {live:.4g} on the last {len(window)} answers"


def _is_beyond_chance(gap: float, score: Score, history: Sequence[Answer], window: Sequence[Answer]) -> bool:
    # The history's blocks are as long as the window's: its slow waves are part of what chance does.
    blocks = max(BLOCKS, BLOCKS * len(history) // len(window))
    error = np.hypot(_standard_error(score, history, blocks), _standard_error(score, window, BLOCKS))
    return bool(gap > 0 and gap >= STANDARD_ERRORS * error)


def _standard_error(score: Score, answers: Sequence[Answer], blocks: int) -> float:
    bounds = np.linspace(0, len(answers), blocks + 1).astype(int)
    without = np.array([score([*answers[:begin], *answers[end:]]) for begin, end in pairwise(bounds)])
    return float(np.sqrt((blocks - 1) / blocks * np.sum((without - without.mean()) ** 2)))
