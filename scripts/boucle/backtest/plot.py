"""The backtest as one picture: the metric over time, the loop among its rivals."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from boucle.backtest.contest import LOOP, Result, ranked
from boucle.backtest.replay import lower_is_better

INK, SOFT, FAINT = "#1f2933", "#52606d", "#e4e7eb"
# Blues and greens for what the project itself can fit, reds and purples for river, greys for the yardsticks.
RECIPES = ("#1f77b4", "#17a2b8", "#2a9d8f", "#6a994e", "#4361ee", "#7b9acc", "#52b788", "#118ab2")
RIVER = ("#9d4edd", "#b5179e", "#c77dff", "#7209b7")
GREYS = ("#6b7280", "#9aa1ab", "#b3b9c2", "#7d8590")
DOTS = ((0.0, (1, 1.4)), (0.0, (1, 3.2)), (0.0, (4, 1.5, 1, 1.5)), (0.0, (4, 1.5, 1, 1.5, 1, 1.5)))
NOISY_FROM = 15  # batches: fewer are not smoothed
AROUND = 2
AREA = (0.07, 0.1, 0.63, 0.75)  # left, bottom, width, height of the axes in the figure
LEGEND_POINTS = 205.0  # what the lines of the legend may add up to
FULL = 4  # of each kind the best; the others step back
FEW = 12  # promotions: more of them would hatch the picture
FAR = 4  # interquartile ranges


@dataclass(frozen=True)
class Style:
    """How a kind of learner is drawn."""

    colours: tuple[str, ...]
    width: float
    dashes: tuple[str | tuple[float, tuple[float, ...]], ...]
    raw: float  # opacity of the batches' own values
    order: int


STYLES = {
    "loop": Style(("#e4572e",), 3.6, ("-",), 0.35, 6),
    "frozen": Style((INK,), 1.8, ("-",), 0.15, 7),
    "recipes": Style(RECIPES, 1.3, ("-",), 0.0, 4),
    "river": Style(RIVER, 1.5, ((0, (5, 2)),), 0.0, 3),
    "yardsticks": Style(GREYS, 1.6, DOTS, 0.0, 2),
}


def draw(results: Sequence[Result], title: str) -> bytes:
    """The picture as PNG, for a slide of 16:9. With several phases, the lines are those of the first."""
    figure = Figure(figsize=(13.33, 7.5), dpi=150, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes(AREA)
    metric, bounds = results[0].metric, results[0].trials[0].batches
    around = AROUND if len(bounds) >= NOISY_FROM else 0
    numbers = {kind: count() for kind in STYLES}
    lines = [_draw_line(axes, result, next(numbers[result.kind]), around) for result in ranked(results)]
    _limit(axes, lines)
    _mark_promotions(axes, results)
    _dress(axes)
    _tell_who_is_who(axes, metric.replace("_", " "))
    figure.text(AREA[0], 0.945, title, fontsize=20, fontweight="bold", color=INK)
    batch = max(rows.stop - rows.start for rows in bounds)
    figure.text(AREA[0], 0.9, _what_it_shows(metric, batch, around), fontsize=12, color=SOFT)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def _what_it_shows(metric: str, batch: int, around: int) -> str:
    wish = "lower is better" if lower_is_better(metric) else "higher is better"
    how = f"each point over {2 * around + 1} batches of {batch:,} rows (faint: one)" if around else f"by {batch:,} rows"
    return f"{metric.replace('_', ' ')}, {wish}; {how}"


def _draw_line(axes: Axes, result: Result, number: int, around: int) -> list[float]:
    style, trial = STYLES[result.kind], result.trials[0]
    colour = style.colours[number % len(style.colours)]
    middles = [(rows.start + rows.stop) / 2 - result.stream.reference for rows in trial.batches]
    values = result.by_batch(trial, around)
    if around and style.raw:
        axes.plot(middles, result.by_batch(trial), color=colour, linewidth=0.9, alpha=style.raw, zorder=1)
    label = f"{result.score:.3f}  {result.name}" if abs(result.score) < 10 else f"{result.score:.1f}  {result.name}"
    axes.plot(
        middles,
        values,
        color=colour,
        linewidth=style.width,
        linestyle=style.dashes[number % len(style.dashes)],
        zorder=style.order,
        alpha=1.0 if number < FULL else 0.35,
        label=label,
    )
    return values


def _tell_who_is_who(axes: Axes, words: str) -> None:
    """The legend is the table beside the picture: as large as it can be, and the axes leave it its width."""
    size = max(6.5, min(11.0, LEGEND_POINTS / len(axes.get_legend_handles_labels()[1])))
    legend = axes.legend(
        loc="upper left", bbox_to_anchor=(1.02, 1.02), frameon=False, fontsize=size, labelcolor=INK, handlelength=2.6,
        title=f"{words} over all rows,\nbest first", title_fontsize=size, alignment="left", labelspacing=0.75,
    )  # fmt: skip
    legend.get_title().set_color(SOFT)
    for text in legend.get_texts():
        if text.get_text().endswith(LOOP):
            text.set_fontweight("bold")
    figure = axes.get_figure(root=True)
    if figure is not None:
        figure.draw_without_rendering()
        left, bottom, _, height = AREA
        width = 1 - left - legend.get_window_extent().width / figure.bbox.width - 0.03
        axes.set_position((left, bottom, width, height))


def _limit(axes: Axes, lines: Sequence[Sequence[float]]) -> None:
    """The smoothed lines fill the picture; single batches, and a line that is far out, must not flatten them."""
    values = np.concatenate([np.asarray(line) for line in lines])
    values = values[np.isfinite(values)]
    lower, upper = np.quantile(values, [0.25, 0.75])
    reach = FAR * (upper - lower)
    near = values[(values >= lower - reach) & (values <= upper + reach)] if reach else values
    room = 0.06 * (float(np.ptp(near)) or 1.0)
    axes.set_ylim(float(near.min()) - 2 * room, float(near.max()) + room)


def _mark_promotions(axes: Axes, results: Sequence[Result]) -> None:
    for result in results:
        promoted = [verdict.row - result.stream.reference for verdict in result.trials[0].promotions]
        if not promoted:
            continue
        colour = STYLES["loop"].colours[0]
        for row in promoted if len(promoted) <= FEW else ():
            axes.axvline(row, color=colour, linewidth=0.8, alpha=0.18, zorder=0)
        axes.plot(
            promoted, np.full(len(promoted), 0.014), "^", color=colour, markersize=9, markeredgecolor="white",
            transform=axes.get_xaxis_transform(), clip_on=False, zorder=7, label=f"a promotion ({len(promoted)})",
        )  # fmt: skip


def _dress(axes: Axes) -> None:
    axes.set_xlabel("rows predicted so far", fontsize=12, color=INK)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda rows, _: f"{rows:,.0f}"))
    axes.yaxis.set_major_locator(MaxNLocator(7))
    axes.grid(axis="y", color=FAINT, linewidth=1)
    axes.set_axisbelow(True)
    axes.margins(x=0.01)
    axes.tick_params(colors=INK, labelsize=11, length=0, pad=7)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#9aa5b1")
