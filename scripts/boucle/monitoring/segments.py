"""Where the answers got worse: per category, and per quarter of a number's range."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.stats import norm

from boucle.arrays import FloatArray
from boucle.contract import Cell, Classes, Feature, Number, Record, Target
from boucle.monitoring.windows import Row

# A segment of fewer rows, now or before, says nothing.
FEWEST = 20
LEVEL = 0.05
MISSING = "missing"


@dataclass(frozen=True)
class Estimate:
    """A share of right answers, or a mean absolute error, with its interval."""

    rows: int
    value: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Segment:
    """The answers to the rows of one kind: now, and held out before. ``loss`` is positive when they got worse.

    ``is_sure`` holds for all segments at once: of a hundred tables where nothing was lost, at most five have one.
    """

    column: str
    title: str
    before: Estimate
    now: Estimate
    loss: float
    is_sure: bool


def compare(
    target: Target, features: Sequence[Feature], known: Sequence[Row], before: Sequence[Row], now: Sequence[Row]
) -> list[Segment]:
    """Every segment with enough rows on both sides, the largest loss first; the sure ones before the others.

    The quarters of a number are those of the ``known`` rows. Shares of right answers have Wilson's interval (1927) at
    95 %. Whether a loss is sure is judged by Newcombe's hybrid of these (1998), Statistics in Medicine 17, and Welch's
    of a mean error, both at a level that Bonferroni shares among all segments looked at.
    """
    errors = [_errors(target, rows) for rows in (before, now)]
    pairs = [
        (feature.name, title, np.array(old), np.array(new))
        for feature in features
        for title, old, new in _groups(feature, [row.input for row in known], (before, now), errors)
        if min(len(old), len(new)) >= FEWEST
    ]
    is_share = isinstance(target, Classes)
    found = [_segment(*pair, is_share, LEVEL / len(pairs)) for pair in pairs]
    return sorted(found, key=lambda one: (not one.is_sure, -one.loss))


def _errors(target: Target, rows: Sequence[Row]) -> list[float]:
    """0 or 1 for a class, the absolute error of a quantity."""
    if isinstance(target, Classes):
        return [float(row.prediction != row.target) for row in rows]
    return [abs(float(row.prediction) - float(row.target or 0.0)) for row in rows]


def _groups(
    feature: Feature, known: Sequence[Record], sides: Sequence[Sequence[Row]], errors: Sequence[Sequence[float]]
) -> list[tuple[str, list[float], list[float]]]:
    """Each segment's title with the errors of its rows, before and now."""
    numbers = [float(value) for record in known if (value := record[feature.name]) is not None and _is_number(feature)]
    edges = np.unique(np.quantile(numbers, [0.25, 0.5, 0.75])).tolist() if numbers else []
    grouped: list[dict[str, list[float]]] = [defaultdict(list), defaultdict(list)]
    for place, (rows, wrong) in enumerate(zip(sides, errors, strict=True)):
        for row, error in zip(rows, wrong, strict=True):
            grouped[place][_title(row.input[feature.name], edges, feature)].append(error)
    return [(title, grouped[0][title], new) for title, new in grouped[1].items()]


def _is_number(feature: Feature) -> bool:
    return isinstance(feature, Number)


def _title(value: Cell, edges: Sequence[float], feature: Feature) -> str:
    if value is None:
        return MISSING
    if not _is_number(feature):
        return str(value)
    position = int(np.searchsorted(edges, float(value), side="left"))
    if position == 0:
        return f"at most {edges[0]:.4g}" if edges else "any"
    if position == len(edges):
        return f"above {edges[-1]:.4g}"
    low, high = list(pairwise(edges))[position - 1]
    return f"{low:.4g} to {high:.4g}"


def _segment(
    column: str,
    title: str,
    old: FloatArray,
    new: FloatArray,
    is_share: bool,
    level: float,
) -> Segment:
    estimate = _share if is_share else _mean
    before, now = estimate(old, LEVEL), estimate(new, LEVEL)
    strict_before, strict_now = estimate(old, level), estimate(new, level)
    if is_share:
        loss = before.value - now.value
        chance = np.hypot(before.value - strict_before.lower, strict_now.upper - now.value)
    else:
        loss = now.value - before.value
        chance = np.hypot(strict_before.upper - before.value, now.value - strict_now.lower)
    return Segment(column, title, before, now, float(loss), bool(loss > chance))


def _share(errors: FloatArray, level: float) -> Estimate:
    """With Wilson's interval; SciPy's computes a test along, which is most of its cost."""
    rows, share = len(errors), float(1 - errors.mean())
    z = float(norm.ppf(1 - level / 2))
    centre = (share + z**2 / (2 * rows)) / (1 + z**2 / rows)
    reach = z / (1 + z**2 / rows) * float(np.sqrt(share * (1 - share) / rows + z**2 / (4 * rows**2)))
    return Estimate(rows, share, centre - reach, centre + reach)


def _mean(errors: FloatArray, level: float) -> Estimate:
    reach = float(norm.ppf(1 - level / 2) * errors.std(ddof=1) / np.sqrt(len(errors)))
    mean = float(errors.mean())
    return Estimate(len(errors), mean, mean - reach, mean + reach)
