"""How far recent production rows are from the rows that the champion knows, column by column, on one scale.

Raw columns are compared, not vectors: a PCA spreads the move of one column over all its components and drops the
narrowest; a new category or a missing value leaves no mark in it; and a person can act on "mean radius", not "PCA_3".
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from boucle.arrays import FloatArray

PERMUTATIONS = 399
# Chance that any column of one window seems to have moved when none has: the promise. Half of it decides, so that what
# is measured on a thousand windows stays below it, too.
LEVEL = 0.01
CRITICAL = LEVEL / 2

Value = float | bool | str | None
Row = Mapping[str, Value]
Draws = NDArray[np.bool_]


@dataclass(frozen=True)
class Move:
    """How far one column moved, in standard deviations of the reference, beyond what chance alone moves it.

    ``p_value`` is already corrected for the number of columns; ``missing`` says that it is the share of missing values
    that moved.
    """

    column: str
    size: float
    p_value: float
    missing: bool = False

    def drifted(self, effect: float) -> bool:
        """Whether it moved by at least ``effect``, and not by chance: a large sample alone makes no drift."""
        return self.size >= effect and self.p_value <= CRITICAL

    def __str__(self) -> str:
        share = "the share of missing values of " if self.missing else ""
        return f"{share}{self.column} moved by {self.size:,.{1 if self.size >= 1 else 2}f} standard deviations"


def compare(reference: Sequence[Row], current: Sequence[Row], seed: int) -> list[Move]:
    """One `Move` for every column that both sides have, and one more where values are missing.

    Numbers: the Wasserstein-1 distance over the reference's standard deviation; a shift by one deviation is 1. Anything
    else: Cohen's w (1988) between the shares, with the mean share below the line, as in Le Cam's distance (1986), so
    that a category that one side has never seen counts and divides nothing by zero; of two categories it, too, is the
    shift in standard deviations, at most 2.

    Both are large by chance in small samples. What chance does is learnt by permuting the rows of both sides together:
    ``size`` is the root of the squared distance less its mean square under permutation, and the p-value holds for the
    largest of all columns at once, whatever their correlation: maxT of Westfall and Young (1993), Resampling-Based
    Multiple Testing, each column standardized by its own permutations so that a heavy tail does not hide the others.

    Both sides hold at least one row.
    """
    draws = _permuted(len(reference), len(current), seed)
    columns: list[tuple[str, bool]] = []
    distances: list[FloatArray] = []
    for name in [name for name in reference[0] if name in current[0]]:
        values = [row.get(name) for row in (*reference, *current)]
        present = np.array([value is not None for value in values])
        columns.append((name, False))
        distances.append(_distances([value for value in values if value is not None], draws[:, present]))
        if not present.all():
            columns.append((name, True))
            distances.append(_between_shares(present.astype(np.int64), draws))
    return _judge(columns, np.array(distances))


def move(reference: Sequence[Value], current: Sequence[Value], seed: int) -> Move:
    """The `Move` of one column alone, such as the predictions or the targets: of its values or of its missing share.

    Both sides hold at least one value, present or missing.
    """
    moves = compare([{"": value} for value in reference], [{"": value} for value in current], seed)
    return min(moves, key=lambda one: (one.p_value, -one.size))


def are_categories(values: Sequence[float | bool | str]) -> bool:
    """Whether a column holds anything but numbers."""
    return any(isinstance(value, str | bool) for value in values)


def sustained(windows: Sequence[Sequence[Move]], times: int, effect: float) -> list[Move]:
    """The columns that drifted in at least ``times`` of the windows, as they last did; the farthest first."""
    drifted = [move for window in windows for move in window if move.drifted(effect)]
    counts = Counter((move.column, move.missing) for move in drifted)
    last = {(move.column, move.missing): move for move in drifted}
    found = [move for key, move in last.items() if counts[key] >= times]
    return sorted(found, key=lambda move: move.size, reverse=True)


def _permuted(reference: int, current: int, seed: int) -> Draws:
    """Which rows are current: in truth (the first line), and in each permutation; shape (1 + permutations, rows)."""
    truth = np.arange(reference + current) >= reference
    permuted = np.random.default_rng(seed).permuted(np.tile(truth, (PERMUTATIONS, 1)), axis=1)
    return np.concatenate([truth[np.newaxis], permuted])


def _distances(values: Sequence[float | bool | str], draws: Draws) -> FloatArray:
    if are_categories(values):
        _, codes = np.unique([str(value) for value in values], return_inverse=True)
        return _between_shares(codes, draws)
    return _between_numbers(np.array(values, dtype=np.float64), draws)


def _between_numbers(values: FloatArray, draws: Draws) -> FloatArray:
    reference = values[~draws[0]]
    # A constant reference has no scale; what came since has.
    scale = reference.std() if len(reference) and np.ptp(reference) else values.std() if len(values) else 0.0
    if not scale:
        return np.zeros(len(draws))
    order = np.argsort(values, kind="stable")
    current = np.maximum(draws.sum(axis=1, keepdims=True), 1)
    others = np.maximum(len(values) - current, 1)
    # How much of the current rows, less how much of the others, lies at or below each value; in place, for speed.
    gaps = np.cumsum(draws[:, order[:-1]], axis=1, dtype=np.float32)
    gaps *= (1 / current + 1 / others).astype(np.float32)
    gaps -= np.arange(1, len(values), dtype=np.float32) / others.astype(np.float32)
    # Not as a product of matrices: the threads of BLAS would wait for each other more than they compute.
    distances: FloatArray = np.einsum("pi,i->p", np.abs(gaps, out=gaps), np.diff(values[order]) / scale)
    return np.where(_both_sides(draws), distances, 0.0)


def _between_shares(codes: NDArray[np.int64], draws: Draws) -> FloatArray:
    if not len(codes):
        return np.zeros(len(draws))
    order = np.argsort(codes, kind="stable")
    _, starts, counts = np.unique(codes[order], return_index=True, return_counts=True)
    in_current = np.add.reduceat(draws[:, order], starts, axis=1, dtype=np.float64)
    current, others = (
        counted / np.maximum(counted.sum(axis=1, keepdims=True), 1.0) for counted in (in_current, counts - in_current)
    )
    mean = np.maximum((current + others) / 2, np.finfo(np.float64).tiny)
    distances: FloatArray = np.sqrt(((current - others) ** 2 / mean).sum(axis=1))
    return np.where(_both_sides(draws), distances, 0.0)


def _both_sides(draws: Draws) -> NDArray[np.bool_]:
    current = draws.sum(axis=1)
    found: NDArray[np.bool_] = (current > 0) & (current < draws.shape[1])
    return found


def _judge(columns: Sequence[tuple[str, bool]], distances: FloatArray) -> list[Move]:
    """Moves from distances of shape (n_columns, 1 + permutations), the truth first."""
    if not columns:
        return []
    by_chance = distances[:, 1:]
    spread = by_chance.std(axis=1, keepdims=True)
    centred = distances - by_chance.mean(axis=1, keepdims=True)
    scores = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)
    largest = scores[:, 1:].max(axis=0)
    sizes = np.sqrt(np.maximum(distances[:, 0] ** 2 - (by_chance**2).mean(axis=1), 0.0))
    p_values = (1 + (largest >= scores[:, :1]).sum(axis=1)) / (1 + len(largest))
    return [
        Move(name, float(size), float(p_value), missing)
        for (name, missing), size, p_value in zip(columns, sizes, p_values, strict=True)
    ]
