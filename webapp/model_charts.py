"""The versions, their exams and their history, as charts."""

from collections.abc import Sequence
from datetime import datetime

import altair as alt
import pandas as pd

from webapp.charts import ACCENT, INK, MUTED, Chart, time_style
from webapp.learning import Exam, Models, ModelVersion, is_error
from webapp.texts import clock, metric_name, metric_title

BAD = "#b91c1c"
AMBER = "#d97706"
GREY = "#94a3b8"
# More versions than this are not seen at a glance.
MOST_LANES = 12


def scores(models: Sequence[ModelVersion]) -> Chart:
    """The score each version had when it was made, oldest first, the champion in colour."""
    scored = [model for model in reversed(models) if model.score is not None]
    table = pd.DataFrame(
        {
            "version": [model.version for model in scored],
            "score": [model.score for model in scored],
            "champion": [model.is_champion for model in scored],
        }
    )
    style = ",.4~r" if scored and is_error(scored[-1].metric) else ".3f"
    base = alt.Chart(table).encode(
        x=alt.X("version:N", sort=None, title=None, axis=alt.Axis(labelAngle=0)),
        y=alt.Y(
            "score:Q",
            title=metric_title(scored[-1].metric) if scored else "score",
            scale=alt.Scale(zero=False, padding=24),
            axis=alt.Axis(tickCount=4, format=style),
        ),
        tooltip=["version:N", alt.Tooltip("score:Q", format=".4f")],
    )
    line = base.mark_line(color=MUTED, strokeWidth=2)
    points = base.mark_point(filled=True, size=110, opacity=1).encode(
        color=alt.condition(alt.datum.champion, alt.value(ACCENT), alt.value("#94a3b8"))
    )
    texts = base.mark_text(dy=-14, color=INK).encode(text=alt.Text("score:Q", format=style))
    # More numbers than this lie one over the other; the mouse still finds them.
    layers = [line, points, texts] if len(scored) <= MOST_LANES else [line, points]
    return alt.layer(*layers).properties(height=260)


def gain(exam: Exam) -> Chart:
    """The challenger's gain with its interval, against what counts as a win (right) and as harm (left)."""
    known = [x for x in (exam.difference, exam.lower, exam.upper) if x is not None]
    harm = exam.margin if exam.strict else -exam.tolerance
    low, high = min([*known, harm, 0.0]), max([*known, exam.margin, 0.0])
    room = max(high - low, 0.01) * 0.25
    # Data of its own for every layer: Vega would draw a mark per row, one over the other.
    scale = alt.Scale(domain=[low - room, high + room], nice=False, zero=False)
    style = "+.1%" if is_error(exam.metric) else "+.3f"
    axis = alt.Axis(format=style, tickCount=6, grid=False, domain=False)
    title = "share of the champion's error saved" if is_error(exam.metric) else f"gain in {metric_name(exam.metric)}"
    x = alt.X("x:Q", title=title, scale=scale, axis=axis)
    zones = pd.DataFrame([(low - room, harm, "harm"), (exam.margin, high + room, "win")], columns=["x", "end", "zone"])
    bands = (
        alt.Chart(zones)
        .mark_rect(opacity=0.13)
        .encode(
            x=x,
            x2="end:Q",
            color=alt.Color("zone:N", scale=alt.Scale(domain=["harm", "win"], range=[BAD, ACCENT]), legend=None),
        )
    )
    edges = [(harm, True, "not enough" if exam.strict else "harm")]
    edges += [] if exam.strict else [(exam.margin, False, "win")]
    layers: list[alt.Chart] = [bands]
    for edge, is_left, text in edges:
        line = alt.Chart(pd.DataFrame({"x": [edge], "text": [text]})).encode(x=x)
        layers.append(line.mark_rule(color=INK, strokeDash=[3, 3]))
        side = line.mark_text(align="right" if is_left else "left", dx=-6 if is_left else 6, baseline="top", color=INK)
        layers.append(side.encode(y=alt.value(4), text="text:N"))
    tooltip = [alt.Tooltip(f"{name}:Q", format=style) for name in ("gain", "lower", "upper")]
    found = pd.DataFrame(
        {"x": [exam.difference], "gain": [exam.difference], "lower": [exam.lower], "upper": [exam.upper]}
    )
    middle = alt.Chart(found).encode(y=alt.value(64), tooltip=tooltip)
    if exam.lower is not None and exam.upper is not None:
        layers.append(middle.mark_rule(color=INK, strokeWidth=3).encode(x=alt.X("lower:Q", scale=scale), x2="upper:Q"))
        layers += [
            middle.mark_tick(color=INK, thickness=3, height=16).encode(x=f"{end}:Q") for end in ("lower", "upper")
        ]
    layers.append(middle.mark_point(filled=True, size=220, opacity=1, color=_color(exam, harm)).encode(x=x))
    return alt.layer(*layers).properties(height=170)


def _color(exam: Exam, harm: float) -> str:
    won = exam.difference is not None and exam.difference >= exam.margin
    is_safe = exam.lower is not None and exam.lower > harm
    return ACCENT if won and is_safe else AMBER if won else BAD


def challengers(exam: Exam) -> Chart:
    """Every challenger's score, best first, its folds as small ticks, and the champion's score as a line."""
    sign = 1 if is_error(exam.metric) else -1
    ranked = sorted(
        (one for one in exam.challengers if one.score is not None), key=lambda one: sign * (one.score or 0.0)
    )
    names = {one.name: one.name.replace("_", " ") for one in ranked}
    table = pd.DataFrame(
        {
            "challenger": [names[one.name] for one in ranked],
            "score": [one.score for one in ranked],
            "best": [one.name == exam.challenger for one in ranked],
        }
    )
    folds = pd.DataFrame(
        [(names[one.name], score) for one in ranked for score in one.validation if score is not None],
        columns=["challenger", "score"],
    )
    order = list(table["challenger"])
    y = alt.Y("challenger:N", sort=order, title=None, axis=alt.Axis(labelLimit=220, ticks=False, domain=False))
    x = alt.X(
        "score:Q", title=metric_title(exam.metric), scale=alt.Scale(zero=False, padding=16), axis=alt.Axis(tickCount=5)
    )
    champion = pd.DataFrame({"score": [exam.champion_score], "champion": [f"champion {exam.champion}"]})
    rule = alt.Chart(champion).encode(x=x, tooltip=["champion:N", alt.Tooltip("score:Q", format=".4f")])
    score = alt.Tooltip("score:Q", format=".4f")
    best = alt.condition(alt.datum.best, alt.value(ACCENT), alt.value(GREY))
    return alt.layer(
        rule.mark_rule(color=INK, strokeWidth=2, strokeDash=[5, 4]),
        rule.mark_text(color=INK, dy=-8, baseline="bottom").encode(y=alt.value(0), text="champion:N"),
        alt.Chart(folds).mark_tick(color=GREY, opacity=0.6, thickness=2, height=10).encode(x=x, y=y, tooltip=[score]),
        alt.Chart(table)
        .mark_point(filled=True, size=150, opacity=1)
        .encode(
            x=x,
            y=y,
            color=best,
            tooltip=["challenger:N", score],
        ),
    ).properties(height=max(170, 70 + 34 * len(order)))


def reigns(models: Models, now: datetime) -> Chart:
    """Who was champion from when until when, a lane per version, newest on top: a rollback steps down."""
    lanes = list(dict.fromkeys(reign.version for reign in models.history))[:MOST_LANES]
    scale = alt.Scale(domain=["serving", "promoted", "rolled back"], range=[ACCENT, GREY, AMBER])
    legend = alt.Legend(orient="top", direction="horizontal")
    lane = alt.Axis(ticks=False, domain=False, grid=True)
    style = time_style(now - models.history[-1].since)
    base = alt.Chart(_reign_table(models, now, lanes)).encode(
        x=alt.X("begin:T", title=None, axis=alt.Axis(grid=False, tickCount=6, labelOverlap=True, format=style)),
        y=alt.Y("version:N", sort=_newest_first(lanes), title=None, axis=lane),
        tooltip=["version:N", "how:N", "from:N", "until:N", "replaced:N", "reason:N", "by:N"],
    )
    bars = base.mark_bar(height=14).encode(
        x2="end:T", color=alt.Color("kind:N", title=None, scale=scale, legend=legend)
    )
    # A reign of seconds in a history of weeks would be no wider than nothing; and how the one that serves came about.
    starts = base.mark_tick(thickness=5, height=14, opacity=1).encode(
        color=alt.Color("how:N", scale=scale, legend=None)
    )
    return alt.layer(bars, starts).properties(height=90 + 34 * len(lanes))


def _reign_table(models: Models, now: datetime, lanes: Sequence[str]) -> pd.DataFrame:
    rows = []
    for place, reign in enumerate(models.history):
        came_back = any(past.version == reign.version for past in models.history[place + 1 :])
        how = "rolled back" if came_back else "promoted"
        kind = how if reign.until else "serving"
        if reign.version in lanes:
            rows.append(
                {
                    "version": reign.version,
                    "begin": reign.since,
                    "end": reign.until or now,
                    "kind": kind,
                    # Also of the version that serves one sees that it came back.
                    "start": how if came_back else kind,
                    "how": how,
                    "from": clock(reign.since),
                    "until": clock(reign.until) or "now",
                    "replaced": reign.previous or "nothing",
                    "reason": reign.reason or "",
                    "by": reign.actor or "",
                }
            )
    return pd.DataFrame(rows)


def _newest_first(versions: Sequence[str]) -> list[str]:
    return sorted(versions, key=lambda version: (len(version), version), reverse=True)
