"""Drift as the Monitoring page shows it: verdicts, a heat map, a table of every column."""

from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from webapp import monitoring_charts
from webapp.answers import number_text
from webapp.production import Drift, Observation, Point
from webapp.texts import plain
from webapp.vitals import FEWEST_ROWS, State

TABLE_HEIGHT = 390
BADGES: Mapping[State, tuple[str, str]] = {
    "ok": ("green", ":material/check_circle:"),
    "warning": ("orange", ":material/error:"),
    "bad": ("red", ":material/warning:"),
    "unknown": ("gray", ":material/hourglass_empty:"),
}


def show(seen: Observation, points: Sequence[Point]) -> None:
    """All of it; of too few predictions only how many there are."""
    st.subheader("Drift")
    if seen.drift is None:
        st.caption(f"Told from {FEWEST_ROWS} predictions on; so far there {_are(seen.served.rows)}.")
        return
    _show_verdicts(seen.drift)
    if any(point.sizes for point in points):
        st.altair_chart(monitoring_charts.drift(points, seen.drift.effect), key="drift_chart")
        most = f" The {monitoring_charts.MOST_COLUMNS} farthest columns." if _has_more(seen.drift) else ""
        st.caption(
            "How far each column is from the reference, in standard deviations beyond chance; "
            f"a drift from {number_text(seen.drift.effect or monitoring_charts.EFFECT)} on.{most}"
        )
    _show_columns(seen.drift)


def _are(rows: int) -> str:
    return f"is {rows}" if rows == 1 else f"are {rows:,}"


def _has_more(drift: Drift) -> bool:
    return drift.n_columns > monitoring_charts.MOST_COLUMNS


def _show_verdicts(drift: Drift) -> None:
    """What is not of one column: a badge and a sentence each."""
    with st.container(horizontal=True, key="drift_verdicts", gap="medium"):
        if drift.joint:
            _verdict(
                "All columns together",
                drift.joint.drifted,
                f"told from the reference with an AUC of {drift.joint.auc:.2f}, where 0.5 is a coin",
            )
        for name, distance in (("Predictions", drift.prediction), ("True values", drift.target)):
            if distance:
                _verdict(name, distance.drifted, f"moved by {distance.size:.2f}")
        if drift.concept:
            concept, found = drift.concept, "no change among the newest labels"
            if concept.changed and concept.before is not None and concept.after is not None:
                found = f"from {number_text(concept.before, 3)} to {number_text(concept.after, 3)} at row {concept.row}"
            _verdict("Error of the answers", concept.changed, found, word="changed")


def _verdict(name: str, is_drifted: bool, found: str, word: str = "drifted") -> None:
    color, icon = BADGES["bad" if is_drifted else "ok"]
    with st.container(width="content", gap=None):
        with st.container(horizontal=True, gap="small", vertical_alignment="center"):
            st.markdown(f"**{name}**", width="content")
            st.badge(word if is_drifted else "calm", color=color, icon=icon)  # type: ignore[arg-type]  # as above
        st.caption(plain(found))


def _show_columns(drift: Drift) -> None:
    columns = drift.columns
    names = {
        "psi": "PSI",
        "jensen_shannon": "Jensen-Shannon",
        "kolmogorov_smirnov": "Kolmogorov-Smirnov",
        "chi_square": "Cramér's V",
    }
    known = [name for name in names if any(name in one.statistics for one in columns)]
    table = pd.DataFrame(
        {
            "column": [one.title for one in columns],
            "drifted": ["drifted" if one.drifted else "" for one in columns],
            "size": [one.size for one in columns],
            "p": [one.p_value for one in columns],
        }
        | {names[name]: pd.Series([one.statistics.get(name) for one in columns], dtype=float) for name in known}
    )
    numbers = {names[name]: st.column_config.NumberColumn(format="%.3f") for name in known}
    st.dataframe(
        table,
        hide_index=True,
        height=min(TABLE_HEIGHT, 38 + 35 * len(columns)),
        placeholder="",
        column_config=numbers
        | {
            "size": st.column_config.NumberColumn(format="%.2f", help="standard deviations beyond chance"),
            "p": st.column_config.NumberColumn(format="%.4f", help="corrected for the number of columns"),
            "drifted": st.column_config.TextColumn(width=80, help="far enough, and not by chance"),
        },
        key="columns",
    )
