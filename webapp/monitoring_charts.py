"""The model in production as charts: its quality, how far the columns moved, what it answers, which labels came."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median

import altair as alt
import pandas as pd

from webapp.charts import ACCENT, INK, MUTED, Chart, time_style
from webapp.learning import Models, is_error
from webapp.production import Point
from webapp.schema import Observed
from webapp.texts import metric_title

RED = "#b91c1c"
GREY = "#94a3b8"
MOST_COLUMNS = 30
MOST_CLASSES = 15
MOST_CHAMPIONS = 8
# A move so many times as far as a drift has the darkest colour.
DARKEST = 4
EFFECT = 0.25
# No observation for so many times the usual pause is a gap: nothing was asked meanwhile.
GAP = 4


def quality(points: Sequence[Point], metric: str, expected: float | None, models: Models | None) -> Chart:
    """The metric over time, dashed what is expected of the champion, and upright who became champion when."""
    scored = [point for point in points if metric in point.quality]
    table = pd.DataFrame(
        {
            "at": [point.created_at for point in scored],
            "score": [point.quality[metric] for point in scored],
            "version": [point.model_version for point in scored],
            "row": [point.rows for point in scored],
        }
    )
    style = ",.4~r" if is_error(metric) else ".3f"
    axis = alt.Axis(tickCount=4, format=style, domain=False)
    y = alt.Y("score:Q", title=metric_title(metric), scale=alt.Scale(zero=False, padding=16), axis=axis)
    tooltip = [
        alt.Tooltip("score:Q", format=style),
        alt.Tooltip("row:Q", title="up to row", format=","),
        "version:N",
        _at(),
    ]
    base = alt.Chart(table).encode(x=_time(points), y=y)
    layers: list[alt.Chart] = [
        base.mark_line(color=ACCENT, strokeWidth=2.5),
        base.mark_point(filled=True, color=ACCENT, size=26, opacity=1).encode(tooltip=tooltip),
    ]
    if expected is not None:
        rule = alt.Chart(pd.DataFrame({"score": [expected], "text": ["expected"]})).encode(y="score:Q")
        layers.append(rule.mark_rule(color=INK, strokeDash=[5, 4]))
        layers.append(rule.mark_text(color=INK, align="left", dx=6, dy=-8).encode(x=alt.value(0), text="text:N"))
    layers += _champions(models, points)
    if metric == "accuracy":
        layers.append(_estimates(points))
    return alt.layer(*layers).properties(height=270)


def _estimates(points: Sequence[Point]) -> alt.Chart:
    known = [(point.created_at, point.estimated_accuracy) for point in points if point.estimated_accuracy is not None]
    table = pd.DataFrame(known, columns=["at", "estimated"])
    tooltip = [alt.Tooltip("estimated:Q", format=".3f"), _at()]
    base = alt.Chart(table).encode(x=_time(points), y="estimated:Q", tooltip=tooltip)
    line: alt.Chart = base.mark_line(color=GREY, strokeWidth=2, strokeDash=[2, 3])
    return line


def _champions(models: Models | None, points: Sequence[Point]) -> list[alt.Chart]:
    begin, end = points[0].created_at, points[-1].created_at
    reigns = [reign for reign in models.history if begin <= reign.since <= end] if models else []
    if not reigns:
        return []
    layers: list[alt.Chart] = []
    late = end - (end - begin) * 0.1
    # A name at the right edge stands to the left of its line.
    for is_late in (False, True):
        chosen = [reign for reign in reigns[:MOST_CHAMPIONS] if (reign.since > late) == is_late]
        table = pd.DataFrame({"at": [one.since for one in chosen], "champion": [one.version for one in chosen]})
        base = alt.Chart(table).encode(x=_time(points), tooltip=["champion:N", _at()])
        text = base.mark_text(align="right" if is_late else "left", dx=-4 if is_late else 4, baseline="top", color=INK)
        layers += [base.mark_rule(color=GREY, strokeWidth=1.5), text.encode(y=alt.value(2), text="champion:N")]
    return layers


def drift(points: Sequence[Point], effect: float | None) -> Chart:
    """How far each column had moved at each look: pale is chance, full colour a drift; the farthest on top."""
    looks = [point for point in points if point.sizes]
    columns = farthest(looks)
    table = pd.DataFrame(
        [
            (begin, end, column, point.sizes[column])
            for point, (begin, end) in zip(looks, _spans([point.created_at for point in looks]), strict=True)
            for column in columns
            if column in point.sizes
        ],
        columns=["at", "end", "column", "size"],
    )
    drifted = effect or EFFECT
    scale = alt.Scale(
        domain=[0, drifted, DARKEST * drifted], range=["#f1f5f9", "#fcd9a0", RED], clamp=True, interpolate="rgb"
    )
    legend = alt.Legend(
        orient="top", title=None, direction="horizontal", gradientLength=220, gradientThickness=8, format=".2~f"
    )
    y = alt.Y(
        "column:N",
        sort=columns,
        title=None,
        axis=alt.Axis(labelLimit=170, labelOverlap=False, ticks=False, domain=False),
        scale=alt.Scale(paddingInner=0.12),
    )
    tooltip = [alt.Tooltip("column:N"), alt.Tooltip("size:Q", title="moved by", format=",.2f"), _at()]
    color = alt.Color("size:Q", scale=scale, legend=legend)
    base = alt.Chart(table).encode(x=_time(points), y=y, color=color, tooltip=tooltip)
    return alt.layer(base.mark_rect().encode(x2="end:T")).properties(height=112 + 18 * len(columns))


def farthest(points: Sequence[Point]) -> list[str]:
    """The columns that moved farthest at any of the looks, in the order of how far they are now."""
    most: dict[str, float] = {}
    for point in points:
        for column, size in point.sizes.items():
            most[column] = max(size, most.get(column, 0.0))
    chosen = sorted(most, key=lambda column: -most[column])[:MOST_COLUMNS]
    now = points[-1].sizes if points else {}
    return sorted(chosen, key=lambda column: (-now.get(column, 0.0), column))


def _spans(moments: Sequence[datetime]) -> list[tuple[datetime, datetime]]:
    """From when until when each look holds: until the next one, but not across a gap."""
    pauses = [(after - before).total_seconds() for before, after in pairwise(moments)]
    usual = timedelta(seconds=max(median(pauses), 1.0)) if pauses else timedelta(seconds=10)
    ends = [*moments[1:], moments[-1] + usual] if moments else []
    return [
        (begin, end if end - begin <= GAP * usual else begin + usual) for begin, end in zip(moments, ends, strict=True)
    ]


def shares(by_class: Mapping[str, float]) -> Chart:
    """How often each class was answered, most frequent first."""
    likely = sorted(by_class.items(), key=lambda item: -item[1])[:MOST_CLASSES]
    table = pd.DataFrame(likely, columns=["class", "share"])
    table["text"] = [f"{share:.1%}" for share in table["share"]]
    axis = alt.Axis(labelLimit=140, ticks=False, domain=False)
    base = alt.Chart(table).encode(
        y=alt.Y("class:N", sort=None, title=None, axis=axis),
        tooltip=["class:N", alt.Tooltip("share:Q", format=".2%")],
    )
    # Room to the right of a full bar, for its text.
    x = alt.X("share:Q", title=None, axis=None, scale=alt.Scale(domain=[0, 1.2]))
    return alt.layer(
        base.mark_bar(cornerRadiusEnd=3, height=16, color=ACCENT).encode(x=x),
        base.mark_text(align="left", dx=6, color=INK).encode(x="share:Q", text="text:N"),
    ).properties(height=max(60, 28 * len(table)))


def answers(quantiles: Mapping[str, float], observed: Observed | None) -> Chart:
    """Nine tenths of the predicted numbers as a bar with their median; pale behind it what the reference data hold."""
    table = pd.DataFrame({"low": [quantiles["0.05"]], "median": [quantiles["0.5"]], "high": [quantiles["0.95"]]})
    table["from"] = observed.minimum if observed else quantiles["0.05"]
    table["to"] = observed.maximum if observed else quantiles["0.95"]
    axis = alt.Axis(tickCount=5, domain=False, grid=False, format=",.4~r")
    scale = alt.Scale(zero=False, nice=False, padding=14)
    tooltip = [alt.Tooltip(f"{name}:Q", format=",.4~r") for name in ("low", "median", "high")]
    base = alt.Chart(table).encode(tooltip=tooltip)
    return alt.layer(
        base.mark_bar(color=MUTED, cornerRadius=5, height=10).encode(
            x=alt.X("from:Q", title=None, scale=scale, axis=axis), x2="to:Q"
        ),
        base.mark_bar(color=ACCENT, cornerRadius=5, height=18).encode(x="low:Q", x2="high:Q"),
        base.mark_tick(color=INK, thickness=3, height=26).encode(x="median:Q"),
    ).properties(height=80)


def coverage(points: Sequence[Point]) -> Chart:
    """Which share of the newest predictions had its true value, over time."""
    known = [(point.created_at, point.coverage) for point in points if point.coverage is not None]
    table = pd.DataFrame(known, columns=["at", "coverage"])
    axis = alt.Axis(format=".0%", values=[0, 0.5, 1], domain=False)
    y = alt.Y("coverage:Q", title=None, scale=alt.Scale(domain=[0, 1]), axis=axis)
    tooltip = [alt.Tooltip("coverage:Q", format=".1%"), _at()]
    base = alt.Chart(table).encode(x=_time(points), y=y, tooltip=tooltip)
    area = base.mark_area(color=ACCENT, opacity=0.18)
    return alt.layer(area, base.mark_line(color=ACCENT)).properties(height=150)


def _time(points: Sequence[Point]) -> alt.X:
    style = time_style(points[-1].created_at - points[0].created_at)
    axis = alt.Axis(grid=False, tickCount=6, labelOverlap=True, labelFlush=True, domain=False, format=style)
    return alt.X("at:T", title=None, axis=axis)


def _at() -> alt.Tooltip:
    return alt.Tooltip("at:T", format="%d %b %H:%M:%S")
