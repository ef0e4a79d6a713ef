"""Why a version answers as it does: what each column adds to the answer, against a background of reference rows.

The contributions are Shapley values (Lundberg & Lee, 2017): they add up to the answer minus its mean over the
background. They explain the model, not the world: columns that say the same share what they say.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from boucle import background
from boucle.arrays import FloatArray, IndexArray
from boucle.artifacts import ServedVersion
from boucle.contract import Category, Cell, Classes, Label
from boucle.encoding import Columns
from boucle.scorer import Arrays, Scorer

MOST_PAIRS = 3 * background.ROWS  # of walks, each of which scores a row per column
MOST_CELLS = 40_000_000  # rows times columns that are scored for one explanation: wide tables get fewer walks
CHUNK_CELLS = 1_000_000  # of these at once: what an explanation takes of memory
SEED = 0  # the same walks for every row, so that equal questions get equal answers


@dataclass(frozen=True)
class Explanation:
    """``contributions``, in the contract's order, add up to ``output - base``; all are in the unit of ``scale``.

    ``standard_error`` is the largest one of all contributions; None when they are exact.
    """

    prediction: Label
    method: Literal["linear", "shapley"]
    scale: str
    base: float
    output: float
    contributions: FloatArray
    standard_error: float | None
    background: str


def explain(version: ServedVersion, values: Sequence[Cell]) -> Explanation:
    """What each of the values, validated and in the contract's order, adds to the version's answer.

    A linear version is explained exactly, on the scale on which it adds up; others by sampling, on the scale of the
    answer itself.
    """
    scorer = version.scorer
    outputs = scorer.row(values)
    if isinstance(scorer, Scorer) and str(scorer.arrays["kind"]) == "linear":
        return _linear(version, scorer.arrays, values, outputs)
    return _sampled(version, values, outputs)


def _linear(version: ServedVersion, arrays: Arrays, values: Sequence[Cell], outputs: Sequence[float]) -> Explanation:
    columns = Columns(version.contract, arrays["medians"])
    row, means = columns.dense(*columns.row(values)), _means(arrays)
    weights, bias, scale = _direction(version, arrays, row, outputs)
    base = float(means @ weights + bias)
    effects = (row - means) * weights
    # A column of categories has several, all of which count.
    contributions: FloatArray = np.zeros(len(values))
    np.add.at(contributions, columns.features, effects)
    return Explanation(
        prediction=version.contract.target.decode(outputs),
        method="linear",
        scale=scale,
        base=base,
        output=base + float(contributions.sum()),
        contributions=contributions,
        standard_error=None,
        background=f"the mean of all {version.manifest.reference_rows:,} reference rows",
    )


def _means(arrays: Arrays) -> FloatArray:
    """Means of the columns that `Columns` makes, over all reference rows: the embedding was fitted on these."""
    means: FloatArray = arrays["center"].copy()  # of scaled columns; those of categories are not scaled
    numbers = slice(len(arrays["means"]))
    means[numbers] = means[numbers] * arrays["scales"] + arrays["means"]
    return means


def _direction(
    version: ServedVersion, arrays: Arrays, row: FloatArray, outputs: Sequence[float]
) -> tuple[FloatArray, float, str]:
    """Weights and bias of the score that speaks for the answer, and what that score is."""
    weights, bias, target = arrays["weights"], arrays["bias"], version.contract.target
    if not isinstance(target, Classes):
        return weights[:, 0], float(bias[0]), target.name
    known = [target.classes[position] for position in arrays["positions"]]
    chosen = known.index(target.decode(outputs))
    odds = f"log-odds of {_text(known[chosen])}"
    if str(arrays["link"]) == "two classes":
        sign = 1.0 if chosen else -1.0
        return sign * weights[:, 0], sign * float(bias[0]), odds
    if str(arrays["link"]) == "one against rest":
        return weights[:, chosen], float(bias[chosen]), f"{odds} against the rest"
    # Of several classes only the odds of two are linear: those of the answer against the next best.
    scores = row @ weights + bias
    other = max((position for position in range(len(known)) if position != chosen), key=scores.__getitem__)
    difference, gap = weights[:, chosen] - weights[:, other], float(bias[chosen] - bias[other])
    return difference, gap, f"{odds} against {_text(known[other])}"


def _sampled(version: ServedVersion, values: Sequence[Cell], outputs: Sequence[float]) -> Explanation:
    """By walks from a background row to the row itself, one column after the other in random order.

    Each order is also walked backwards: the two errors cancel in part. A column's contribution is the mean of its
    steps. Source: Štrumbelj & Kononenko (2014), Knowledge and Information Systems 41; antithetic pairs as in Mitchell
    et al. (2022), JMLR 23(43).
    """
    target = version.contract.target
    prediction, position = target.decode(outputs), outputs.index(max(outputs)) if isinstance(target, Classes) else 0
    rows, ranks = _plan(version.background or background.typical(version.contract), len(values))
    walks = np.concatenate(list(_walks(version, values, rows, ranks, position))).reshape(len(ranks), -1)
    steps = np.take_along_axis(np.diff(walks, axis=1), ranks, axis=1)
    by_pair = steps.reshape(2, len(ranks) // 2, -1).mean(axis=0)
    return Explanation(
        prediction=prediction,
        method="shapley",
        scale=f"probability of {_text(prediction)}" if isinstance(target, Classes) else target.name,
        base=float(walks[:, 0].mean()),
        output=float(walks[:, -1].mean()),
        contributions=by_pair.mean(axis=0),
        standard_error=_standard_error(by_pair, len(rows)),
        background=_described(version, len(rows)),
    )


def _plan(rows: background.Rows, width: int) -> tuple[background.Rows, IndexArray]:
    """Rows to walk from, in turn, and when each walk changes which column; the second half walks the first's backwards.

    As many as may be scored, and every row equally often, so that the base is their mean.
    """
    pairs = max(1, min(MOST_PAIRS, MOST_CELLS // (2 * width * (width + 1))))
    rows = rows[:pairs]
    pairs -= pairs % len(rows)
    ranks = np.random.default_rng(SEED).permuted(np.tile(np.arange(width), (pairs, 1)), axis=1)
    return rows, np.concatenate([ranks, width - 1 - ranks])


def _walks(
    version: ServedVersion, values: Sequence[Cell], rows: background.Rows, ranks: IndexArray, position: int
) -> Iterator[FloatArray]:
    """Outputs along all walks, in chunks; ``ranks`` (n_walks, n_columns) says when a walk changes a column."""
    n_walks, width = ranks.shape
    own = [_array(version, number, [value])[0] for number, value in enumerate(values)]
    others = [_array(version, number, cells) for number, cells in enumerate(zip(*rows, strict=True))]
    n_steps, size = n_walks * (width + 1), max(1, CHUNK_CELLS // width)
    for start in range(0, n_steps, size):
        walk, changed = np.divmod(np.arange(start, min(start + size, n_steps)), width + 1)
        is_own = ranks[walk] < changed[:, None]
        row = walk % len(rows)
        columns = [np.where(is_own[:, number], own[number], others[number][row]) for number in range(width)]
        yield version.scorer.matrix(columns)[:, position]


def _array(version: ServedVersion, number: int, cells: Sequence[Cell]) -> Any:  # an array of texts or of numbers
    is_category = isinstance(version.contract.features[number], Category)
    return np.array(cells, dtype=object if is_category else np.float64)  # a missing number becomes NaN


def _standard_error(by_pair: FloatArray, n_rows: int) -> float | None:
    """The largest of all columns; background rows are a sample too, so pairs from the same one count once."""
    units = by_pair.reshape(-1, n_rows, by_pair.shape[1]).mean(axis=0) if n_rows > 1 else by_pair
    if len(units) < 2:
        return None
    return float((units.std(axis=0, ddof=1) / np.sqrt(len(units))).max())


def _described(version: ServedVersion, n_rows: int) -> str:
    if version.background:
        return f"{n_rows} of {version.manifest.reference_rows:,} reference rows"
    return f"one typical row (medians, first categories): {version.version} keeps no reference rows"


def _text(label: Label) -> str:
    return str(label).lower() if isinstance(label, bool) else str(label)
