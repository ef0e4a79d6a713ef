"""The plots of a diagnosis, as SVG that stands in the page itself."""

import io
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from boucle.arrays import FloatArray, IndexArray
from boucle.contract import Cell, Classes
from boucle.drift.moves import are_categories
from boucle.monitoring.diagnosis import Evidence, MovedColumn
from boucle.monitoring.segments import MISSING
from boucle.monitoring.windows import Row

ACCENT, INK, SOFT, PALE, RED = "#0f766e", "#1e293b", "#64748b", "#cbd5e1", "#b91c1c"
BINS = 24
MOST_CATEGORIES = 8
LONGEST_NAME = 18
# Rows that make one point of a line: of a mean those before it, of a median those around it. And points of a line.
BEHIND, AROUND, MOST_POINTS = 50, 25, 400
# Fewer than this make no mean.
FEWEST = 20
SETTINGS: dict[Any, Any] = {  # Any: matplotlib lists its settings as literals
    "svg.fonttype": "none",  # letters stay letters: small, and found by the browser's search
    "svg.hashsalt": "boucle",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.parse_math": False,  # a category may be called $x$
    "axes.edgecolor": PALE,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
}


def quality(evidence: Evidence) -> str:
    """How right the answers were, row by row, with the versions that gave them; empty with too few labels."""
    rows = evidence.rows.labelled
    if len(rows) < BEHIND:
        return ""
    is_share = isinstance(evidence.contract.target, Classes)
    expected = _mean_score(evidence.reference.held_out, is_share)
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(9.2, 2.5), layout="constrained")
        axes = figure.add_subplot()
        numbers = np.array([row.row or 0 for row in rows])
        _line(axes, numbers, _smooth(_scores(rows, is_share)), ACCENT)
        axes.axhline(expected, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.text(1, expected, " expected", transform=axes.get_yaxis_transform(), va="center", color=INK)
        for place, (before, after) in enumerate(pairwise(rows), 1):
            if before.model_version != after.model_version:
                _upright(axes, numbers[place], after.model_version, SOFT)
        axes.set_xlabel("feedback row", color=SOFT)
        axes.set_ylabel("share right" if is_share else "absolute error", color=SOFT)
        return _svg(figure, axes)


def column(moved: MovedColumn, evidence: Evidence) -> str:
    """The column's distribution in the reference and now; and its way there, row by row."""
    window = evidence.observation.served.rows
    known, served = (_cells(moved, rows) for rows in (evidence.reference.rows, evidence.rows.served))
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(9.2, 2.1), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=[4, 5])
        _distributions(left, known, served[-window:])
        _course(right, known, served)
        if moved.onset and not moved.onset.is_older:
            label = f"feedback row {moved.onset.row}" if moved.onset.row else "here"
            _upright(right, moved.onset.position, label, RED)
        return _svg(figure, left, right)


def _cells(moved: MovedColumn, rows: Sequence[Row]) -> Sequence[Cell]:
    values = [row.input[moved.drift.column] for row in rows]
    return [MISSING if value is None else "present" for value in values] if moved.drift.missing else values


def _distributions(axes: Axes, known: Sequence[Cell], now: Sequence[Cell]) -> None:
    if _are_categories(known, now):
        _bars(axes, known, now)
        return
    before, after = _numbers(known), _numbers(now)
    both = np.concatenate([before, after])
    edges = np.histogram_bin_edges(np.clip(both, *np.quantile(both, [0.005, 0.995])), BINS)
    for values, style in ((before, {"color": PALE}), (after, {"color": ACCENT, "histtype": "step", "linewidth": 1.8})):
        weights = np.full(len(values), 1 / max(1, len(values)))
        axes.hist(np.clip(values, edges[0], edges[-1]), edges.tolist(), weights=weights, **style)
    axes.set_yticks([])
    axes.xaxis.set_major_locator(MaxNLocator(5))


def _bars(axes: Axes, known: Sequence[Cell], now: Sequence[Cell]) -> None:
    before, after = _shares(known), _shares(now)
    names = sorted({*before, *after}, key=lambda name: max(before.get(name, 0.0), after.get(name, 0.0)))
    names = names[-MOST_CATEGORIES:]
    places = np.arange(len(names))
    for share, offset, color in ((before, 0.2, PALE), (after, -0.2, ACCENT)):
        axes.barh(places + offset, [share.get(name, 0.0) for name in names], 0.38, color=color)
    axes.set_yticks(places, [_shortened(name) for name in names])
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel("share", color=SOFT)


def _course(axes: Axes, known: Sequence[Cell], served: Sequence[Cell]) -> None:
    """A number's running median over the reference's middle nine tenths; the share of the category that moved most."""
    axes.set_xlabel("prediction, oldest first", color=SOFT)
    if _are_categories(known, served):
        before, after = _shares(known), _shares(served[-MOST_POINTS:])
        most = max(after, key=lambda name: abs(after[name] - before.get(name, 0.0)))
        axes.axhline(before.get(most, 0.0), color=SOFT, linestyle=(0, (4, 3)), linewidth=1)
        axes.set_ylabel(f"share of {_shortened(most)}", color=SOFT)
        _line(
            axes, np.arange(len(served)), _smooth(np.array([float(_name(value) == most) for value in served])), ACCENT
        )
        return
    low, middle, high = np.quantile(_numbers(known), [0.05, 0.5, 0.95])
    axes.axhspan(low, high, color="#eef2f6", zorder=0)
    axes.axhline(middle, color=SOFT, linestyle=(0, (4, 3)), linewidth=1)
    values = np.array([np.nan if value is None else value for value in served], dtype=np.float64)
    _line(axes, np.arange(len(values)), _running_median(values), ACCENT)


def _are_categories(*sides: Sequence[Cell]) -> bool:
    return are_categories([value for side in sides for value in side if value is not None])


def _shares(values: Sequence[Cell]) -> dict[str, float]:
    counts = Counter(map(_name, values))
    return {name: count / max(1, counts.total()) for name, count in counts.items()}


def _name(value: Cell) -> str:
    return MISSING if value is None else str(value)


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}…"


def _line(axes: Axes, x: FloatArray | IndexArray, y: FloatArray, color: str) -> None:
    step = max(1, len(x) // MOST_POINTS)
    axes.plot(x[::step], y[::step], color=color, linewidth=1.6)


def _upright(axes: Axes, x: float, label: str, color: str) -> None:
    axes.axvline(x, color=color, linewidth=1.2)
    axes.annotate(label, (x, 1), (-2, 3), axes.get_xaxis_transform(), "offset points", color=color)


def _smooth(values: FloatArray) -> FloatArray:
    """The mean of each value and those before it: what changes is seen from where it changes on."""
    sums = np.cumsum(np.concatenate([[0.0], values]))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - BEHIND, 0)
    smoothed: FloatArray = (sums[ends] - sums[starts]) / (ends - starts)
    smoothed[: FEWEST - 1] = np.nan
    return smoothed


def _running_median(values: FloatArray) -> FloatArray:
    half = AROUND // 2
    parts = [values[max(0, place - half) : place + half + 1] for place in range(len(values))]
    return np.array([np.nanmedian(part) if np.isfinite(part).any() else np.nan for part in parts])


def _scores(rows: Sequence[Row], is_share: bool) -> FloatArray:
    if is_share:
        return np.array([float(row.prediction == row.target) for row in rows])
    return np.array([abs(float(row.prediction) - float(row.target or 0.0)) for row in rows])


def _mean_score(rows: Sequence[Row], is_share: bool) -> float:
    return float(_scores(rows, is_share).mean()) if rows else float("nan")


def _numbers(values: Sequence[Cell]) -> FloatArray:
    return np.array([value for value in values if value is not None], dtype=np.float64)


def _svg(figure: Figure, *every: Axes) -> str:
    for axes in every:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(length=0)
    picture = io.StringIO()
    FigureCanvasSVG(figure)
    figure.savefig(picture, format="svg", metadata={"Date": None})
    text = picture.getvalue()
    return text[text.index("<svg") :]
