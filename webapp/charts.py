"""What the model answers, as charts: how sure it is of a class, and how near its numbers come."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

import altair as alt
import pandas as pd

from webapp.answers import Contribution, label_text
from webapp.schema import Observed

ACCENT = "#0f766e"
AGAINST = "#b45309"
MUTED = "#cbd5e1"
INK = "#334155"
MOST_LABELS = 10
MOST_POINTS = 2_000
# More than these are one bar together.
MOST_CONTRIBUTIONS = 10

# How an axis of time is labelled that is shorter than this: no two of its six labels shall be the same.
TIME_STYLES = {
    timedelta(minutes=20): "%H:%M:%S",
    timedelta(days=1): "%H:%M",
    timedelta(days=5): "%d %b %H:%M",
    timedelta(days=300): "%d %b",
    timedelta.max: "%d %b %Y",
}

Chart = alt.LayerChart | alt.FacetChart


def time_style(span: timedelta) -> str:
    """The format of an axis that spans so much time."""
    return next(style for end, style in TIME_STYLES.items() if span < end)


def probabilities(by_label: Mapping[str, float], predicted: str) -> Chart:
    """One bar per label, most probable first, the predicted one in colour."""
    likely = sorted(by_label.items(), key=lambda item: -item[1])[:MOST_LABELS]
    table = pd.DataFrame(likely, columns=["label", "probability"])
    table["text"] = [f"{p:.1%}" for p in table["probability"]]
    base = alt.Chart(table).encode(
        # A label is data: the order is ours, and a long one is cut rather than pushing the bars out.
        y=alt.Y("label:N", sort=None, title=None, axis=alt.Axis(labelLimit=110, ticks=False, domain=False)),
        tooltip=["label:N", alt.Tooltip("probability:Q", format=".4f")],
    )
    bars = base.mark_bar(cornerRadiusEnd=4, height=20).encode(
        # Room to the right of a full bar, for its text.
        x=alt.X("probability:Q", title=None, scale=alt.Scale(domain=[0, 1.2]), axis=None),
        color=alt.condition(alt.datum.label == predicted, alt.value(ACCENT), alt.value(MUTED)),
    )
    texts = base.mark_text(align="left", dx=6, color=INK).encode(x="probability:Q", text="text:N")
    return alt.layer(bars, texts).properties(height=max(70, 34 * len(table)))


def contributions(found: Sequence[Contribution], text_of: Callable[[float], str]) -> Chart:
    """What the columns add, a bar each from the zero line: to the right what speaks for the answer; largest first."""
    shown = [(_named(one), one.contribution) for one in found[:MOST_CONTRIBUTIONS]]
    rest = [one.contribution for one in found[MOST_CONTRIBUTIONS:]]
    if rest:
        shown.append((f"{len(rest)} other column{'s' * (len(rest) > 1)}", sum(rest)))
    table = pd.DataFrame(shown, columns=["column", "adds"])
    table["text"] = [text_of(amount) for amount in table["adds"]]
    table["kind"] = ["for" if amount >= 0 else "against" for amount in table["adds"]]
    table.loc[MOST_CONTRIBUTIONS:, "kind"] = "rest"
    low, high = min(0.0, table["adds"].min()), max(0.0, table["adds"].max())
    room = 0.32 * ((high - low) or 1.0)  # for the text at the end of a bar
    domain = [low - room if low < 0 else low, high + room if high > 0 else high]
    base = alt.Chart(table).encode(
        x=alt.X("adds:Q", title=None, axis=None, scale=alt.Scale(domain=domain, nice=False)),
        y=alt.Y(
            "column:N", sort=None, title=None, axis=alt.Axis(labelLimit=165, labelPadding=6, ticks=False, domain=False)
        ),
        tooltip=["column:N", alt.Tooltip("text:N", title="adds")],
    )
    colors = alt.Scale(domain=["for", "against", "rest"], range=[ACCENT, AGAINST, MUTED])
    bars = base.mark_bar(cornerRadiusEnd=4, height=16).encode(color=alt.Color("kind:N", scale=colors, legend=None))
    right = base.transform_filter("datum.adds >= 0").mark_text(align="left", dx=5, color=INK).encode(text="text:N")
    left = base.transform_filter("datum.adds < 0").mark_text(align="right", dx=-5, color=INK).encode(text="text:N")
    zero = alt.Chart(pd.DataFrame({"adds": [0.0]})).mark_rule(color=INK).encode(x="adds:Q")
    return alt.layer(bars, right, left, zero).properties(height=24 * len(table) + 10)


def _named(one: Contribution) -> str:
    return f"{one.column} = {'missing' if one.value is None else label_text(one.value)}"


def place(number: float, observed: Observed) -> Chart:
    """Where the predicted number lies in what the reference data hold: the range as a bar, its median as a line."""
    table = pd.DataFrame({"low": [observed.minimum], "high": [observed.maximum], "median": [observed.median]})
    table["predicted"] = number
    axis = alt.Axis(tickCount=5, domain=False, grid=False)
    base = alt.Chart(table).encode(tooltip=[alt.Tooltip(f"{name}:Q", format=",.6~g") for name in table])
    seen = base.mark_bar(color=MUTED, cornerRadius=5, height=10).encode(
        x=alt.X("low:Q", title=None, scale=alt.Scale(zero=False, nice=False, padding=14), axis=axis), x2="high:Q"
    )
    median = base.mark_tick(color=INK, thickness=2, height=18).encode(x="median:Q")
    point = base.mark_point(filled=True, size=200, opacity=1, color=ACCENT).encode(x="predicted:Q")
    return alt.layer(seen, median, point).properties(height=64)


def residuals(predicted: Sequence[float], true: Sequence[float], target: str) -> Chart:
    """Every predicted number against the true one, the further off the darker; on the line both are equal."""
    table = pd.DataFrame({"true": true, "predicted": predicted})
    table = table.sample(MOST_POINTS, random_state=0) if len(table) > MOST_POINTS else table
    table["off by"] = (table["predicted"] - table["true"]).abs()
    ends = [float(table[["true", "predicted"]].min().min()), float(table[["true", "predicted"]].max().max())]
    scale = alt.Scale(domain=ends, zero=False, padding=10)
    diagonal = alt.Chart(pd.DataFrame({"true": ends, "predicted": ends})).mark_line(color=MUTED, strokeDash=[5, 4])
    points = alt.Chart(table).mark_point(filled=True, size=45, opacity=0.85)
    points = points.encode(
        color=alt.Color("off by:Q", scale=alt.Scale(range=["#99d5cd", "#b45309"]), legend=alt.Legend(tickCount=4)),
        tooltip=[alt.Tooltip(f"{name}:Q", format=",.6~g") for name in table],
    )
    x = alt.X("true:Q", title=f"true {target}", scale=scale)
    y = alt.Y("predicted:Q", title=f"predicted {target}", scale=scale)
    return alt.layer(diagonal, points).encode(x=x, y=y).properties(height=340)
