"""Production at a glance: is the model well, what moved, since when; the essentials without Grafana."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit, urlunsplit

import pandas as pd
import streamlit as st

from webapp import monitoring_charts, status
from webapp.answers import number_text
from webapp.client import ApiClient, ApiDown, ApiProblem
from webapp.latency import Readings
from webapp.learning import Models
from webapp.production import ColumnQuality, Observation, Point
from webapp.schema import Schema
from webapp.texts import age, clock, count, metric_name, plain, show_error
from webapp.views import drift
from webapp.views.drift import BADGES, TABLE_HEIGHT
from webapp.vitals import FEWEST_ROWS, Vital, duration, vitals

REFRESH_SECONDS = 5
# The observer looks every ten seconds: after a minute it is away, not slow.
STALE = timedelta(minutes=1)
SPANS = {"last hour": timedelta(hours=1), "last day": timedelta(days=1), "everything": None}
ICONS = {
    "Grafana": ":material/monitoring:",
    "Evidently": ":material/lab_profile:",
    "MLflow": ":material/experiment:",
    "Prometheus": ":material/query_stats:",
}


def show(api: ApiClient, schema: Schema, links: Mapping[str, str] | None = None) -> None:
    """All of it, kept up to date; ``links`` are the addresses of the parts that show more."""
    st.title("Monitoring")
    st.caption(f"{plain(schema.project)}: how the model does in production, beside what is expected of it.")
    with st.container(horizontal=True, key="monitoring_actions", vertical_alignment="center"):
        _offer_report(api)
        for name, url in (links or {}).items():
            st.link_button(name, _reachable(url), icon=ICONS.get(name), type="tertiary")
    _show_live(api, schema)


def _offer_report(api: ApiClient) -> None:
    icon = ":material/lab_profile:"
    if st.button("Make a report now", key="make_report", icon=icon):
        try:
            api.request_report()
        except (ApiDown, ApiProblem) as error:
            show_error(error)
        else:
            st.toast("The reports are being made: Evidently shows them in about half a minute.", icon=icon)


def _reachable(url: str) -> str:
    """The address as the reader's browser finds it, who may sit at another machine."""
    parts, page = urlsplit(url), urlsplit(st.context.url or "")
    if parts.hostname not in ("localhost", "127.0.0.1") or not page.hostname:
        return url
    return urlunsplit(parts._replace(netloc=f"{page.hostname}:{parts.port}" if parts.port else page.hostname))


@st.fragment(run_every=REFRESH_SECONDS)
def _show_live(api: ApiClient, schema: Schema) -> None:
    readings: Readings = st.session_state.setdefault("latency_readings", Readings())
    try:
        monitoring = api.monitoring(monitoring_charts.MOST_COLUMNS)
        readings.add(api.latency())
    except (ApiDown, ApiProblem) as error:
        if isinstance(error, ApiProblem):
            show_error(error)
        st.caption("The numbers appear here as soon as the API answers.")
        return
    seen = monitoring.latest
    if seen is None:
        _show_nothing(has_requests=readings.latency() is not None)
        return
    models = status.current().models
    metric = _usual_metric(seen, models)
    _show_age(seen, readings)
    _show_vitals(vitals(seen, metric, readings.latency()))
    if seen.complaint:
        with st.container(key="complaint"):
            st.error(f"Worse than expected: {plain(seen.complaint)}.", icon=":material/trending_down:")
    points = _choose_span(monitoring.history)
    _show_quality(seen, points, metric, models)
    drift.show(seen, points)
    left, right = st.columns(2, gap="large")
    with left:
        _show_predictions(seen, schema)
    with right:
        _show_labels(seen, points)
    _show_data_quality(seen)


def _show_nothing(*, has_requests: bool) -> None:
    with st.container(key="nothing_seen"):
        if has_requests:
            st.warning(
                "Predictions are answered, but nobody has looked at them yet: does the exporter run? "
                "`make run` starts it.",
                icon=":material/visibility_off:",
            )
        else:
            st.info(
                "Nothing to see yet: ask for a few predictions and send what was true. "
                f"From {FEWEST_ROWS} rows on there are verdicts.",
                icon=":material/hourglass_empty:",
            )


def _show_age(seen: Observation, readings: Readings) -> None:
    is_stale = datetime.now(UTC) - seen.created_at > STALE and readings.came_after(seen.created_at)
    # Always there, so that the rest of the page keeps its place.
    with st.container(key="observation_age"):
        if is_stale:
            st.warning(
                f"Rows come, but the last look at them was {age(seen.created_at)}: does the exporter run? "
                "What stands below is old.",
                icon=":material/visibility_off:",
            )
        else:
            st.caption(
                f"Looked at {clock(seen.created_at)}, while **{plain(seen.model_version)}** served: the newest "
                f"{count(seen.served.rows, 'prediction')} and {count(seen.labelled.rows, 'label')}."
            )


def _show_vitals(found: Sequence[Vital]) -> None:
    with st.container(key="vitals", gap="small"):
        for number, vital in enumerate(found):
            with st.container(border=True, key=f"vital_{number}", gap="small"):
                color, icon = BADGES[vital.state]
                st.caption(plain(vital.name))
                st.markdown(f"### {plain(vital.value)}")
                st.badge(vital.word, color=color, icon=icon)  # type: ignore[arg-type]  # of Streamlit's own names
                st.caption(plain(vital.detail))


def _usual_metric(seen: Observation, models: Models | None) -> str:
    champion = models.find(models.champion) if models else None
    usual = champion.metric if champion else ""
    known = seen.quality or seen.expected
    return usual if usual in known else "mae" if seen.is_of_quantity else "balanced_accuracy"


def _choose_span(history: Sequence[Point]) -> Sequence[Point]:
    """The points of the chosen span, counted back from the last one: also what was long ago is seen."""
    chosen = st.session_state.get("monitoring_span") or next(iter(SPANS))
    span = SPANS[chosen]
    return [point for point in history if span is None or point.created_at >= history[-1].created_at - span]


def _show_quality(seen: Observation, points: Sequence[Point], usual: str, models: Models | None) -> None:
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="bottom"):
        st.subheader("Quality over time", width="content")
        with st.container(horizontal=True, width="content", vertical_alignment="bottom"):
            metrics = list(seen.quality or seen.expected)
            chosen = _choose("Metric", "monitoring_metric", metrics, usual)
            _choose("Span", "monitoring_span", list(SPANS), next(iter(SPANS)))
    metric = chosen or usual
    if not any(metric in point.quality for point in points):
        st.caption("No labels yet: quality is known when true values come, at `POST /feedback` or on the Predict page.")
        return
    st.altair_chart(monitoring_charts.quality(points, metric, seen.expected.get(metric), models), key="quality_chart")
    estimated = " Dotted is what was estimated before labels came." if metric == "accuracy" else ""
    st.caption(
        f"Of the answers given, on the newest labels at each look. Dashed is the champion's on held-out rows; "
        f"an upright line is a new champion.{estimated}"
    )


def _choose(label: str, key: str, options: list[str], usual: str) -> str | None:
    st.session_state.setdefault(key, usual)
    if st.session_state[key] not in options:
        st.session_state[key] = usual if usual in options else None
    return st.selectbox(
        label, options, key=key, format_func=metric_name, label_visibility="collapsed", width=180, disabled=not options
    )


def _show_predictions(seen: Observation, schema: Schema) -> None:
    st.subheader("Predictions")
    if not seen.predictions:
        st.caption("None yet.")
    elif schema.is_numeric:
        st.altair_chart(monitoring_charts.answers(seen.predictions, schema.observed), key="answers_chart")
        median = number_text(seen.predictions["0.5"], 4)
        st.caption(f"Nine tenths of the answers, median {median}; pale is what the reference data hold.")
    else:
        st.altair_chart(monitoring_charts.shares(seen.predictions), key="shares_chart")
        classes = len(seen.predictions)
        most = f" The {monitoring_charts.MOST_CLASSES} most frequent of {classes}."
        said = "How often each class was answered."
        st.caption(said + (most if classes > monitoring_charts.MOST_CLASSES else ""))


def _show_labels(seen: Observation, points: Sequence[Point]) -> None:
    st.subheader("Labels")
    if not any(point.coverage is not None for point in points):
        st.caption("The share of predictions whose true value came appears here.")
        return
    st.altair_chart(monitoring_charts.coverage(points), key="coverage_chart")
    delay = seen.labels.delay_seconds
    waited = (
        f" Half of them came within {duration(delay['0.5'])}, nineteen of twenty within {duration(delay['0.95'])}."
        if {"0.5", "0.95"} <= set(delay)
        else ""
    )
    st.caption(f"The share of the newest predictions whose true value came.{waited}")


def _show_data_quality(seen: Observation) -> None:
    st.subheader("Data quality")
    if not seen.data_quality:
        st.caption(
            "Every value of the newest predictions is one that the reference knows; none is missing."
            if seen.served.rows
            else "Missing and unknown values appear here."
        )
        return
    found = sorted(seen.data_quality, key=lambda one: -(one.missing + one.out_of_range + one.new_category))
    st.dataframe(
        pd.DataFrame(
            {
                "column": [one.column for one in found],
                "missing": [one.missing for one in found],
                "out of range": [one.out_of_range for one in found],
                "new category": [one.new_category for one in found],
                "the reference showed": [_shown(one) for one in found],
            }
        ),
        hide_index=True,
        height=min(TABLE_HEIGHT, 38 + 35 * len(found)),
        placeholder="",
        key="data_quality",
    )
    st.caption(f"How many of the newest {count(seen.served.rows, 'prediction')} hold such a value.")


def _shown(one: ColumnQuality) -> str:
    if one.minimum is not None and one.maximum is not None:
        return f"{number_text(one.minimum, 4)} to {number_text(one.maximum, 4)}"
    categories = one.categories or ()
    return ", ".join(categories[:6]) + (f" and {len(categories) - 6} more" if len(categories) > 6 else "")
