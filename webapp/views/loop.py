"""The loop itself: what was learned from the feedback, when, and with which result."""

import pandas as pd
import streamlit as st

from webapp import status
from webapp.client import ApiClient, ApiDown, ApiProblem
from webapp.learning import Loop, Models
from webapp.schema import Schema
from webapp.texts import clock, metric_title, plain, show_error
from webapp.views import training

# Newest first, so the rest may wait behind a scroll bar.
RUNS_HEIGHT = 460


def show(api: ApiClient, schema: Schema) -> None:
    """Counts and training runs, kept up to date, and a button to retrain now."""
    st.title("Loop")
    st.caption(f"{plain(schema.project)}: feedback becomes a challenger; the better of the two serves.")
    _show_live(api)


@st.fragment(run_every=status.REFRESH_SECONDS)
def _show_live(api: ApiClient) -> None:
    now = status.current()
    if now.loop is None or now.models is None:
        st.caption("The counts and runs appear here as soon as the API answers.")
        return
    _show_counts(now.loop, now.models)
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="bottom"):
        st.subheader("Training runs", width="content")
        _offer_retraining(api, is_training=any(run.is_active for run in now.loop.runs))
    training.show_active(now.loop)
    _show_runs(now.loop, now.models)


def _offer_retraining(api: ApiClient, *, is_training: bool) -> None:
    # One run at a time: a request made meanwhile would only be merged with the one under way.
    icon = ":material/model_training:"
    if st.button("Retrain now", key="retrain", type="primary", icon=icon, disabled=is_training):
        try:
            run = api.retrain()
        except (ApiDown, ApiProblem) as error:
            show_error(error)
        else:
            st.toast(f"Training run \\#{plain(run.id)} {plain(run.state)}", icon=icon)


def _show_counts(loop: Loop, models: Models) -> None:
    promoted = sum(run.verdict == "promoted" for run in loop.runs)
    with st.container(horizontal=True, key="counts"):
        st.metric("Serving", plain(models.champion or "none yet"), border=True)
        st.metric("Feedback rows", f"{loop.feedback_rows:,}", border=True)
        if loop.k is not None and loop.rows_to_next_retraining is not None:
            st.metric(f"Rows to the next retraining (k = {loop.k:,})", f"{loop.rows_to_next_retraining:,}", border=True)
        st.metric("Recent runs", f"{len(loop.runs)}", border=True)
        st.metric("Promoted", f"{promoted}", border=True)


def _show_runs(loop: Loop, models: Models) -> None:
    if not loop.runs:
        st.caption("No training run yet: send feedback, or press Retrain now.")
        return
    champion = models.find(models.champion)
    metric = metric_title(champion.metric) if champion else "score"
    last = next((run for run in loop.runs if run.reason and run.state != "coalesced"), None)
    if last:
        st.caption(f"Run \\#{plain(last.id)}: {plain(last.reason)}. Below, champion and challenger by {plain(metric)}.")
    st.dataframe(
        pd.DataFrame(
            {
                "run": [f"#{run.id}" for run in loop.runs],
                "when": [clock(run.finished_at or run.requested_at) for run in loop.runs],
                "outcome": [run.verdict or run.state for run in loop.runs],
                "new": [run.version or "" for run in loop.runs],
                "started by": [training.trigger(run) for run in loop.runs],
                "champion": [run.metrics.champion for run in loop.runs],
                "challenger": [run.metrics.challenger for run in loop.runs],
                "exam rows": [run.metrics.exam_rows for run in loop.runs],
                "reason": [run.reason or "" for run in loop.runs],
            }
        ),
        hide_index=True,
        height=min(RUNS_HEIGHT, 38 + 35 * len(loop.runs)),
        placeholder="",
        column_config={
            "run": st.column_config.TextColumn(width=50),
            "outcome": st.column_config.TextColumn(width=140, help="the verdict; before there is one, the state"),
            "started by": st.column_config.TextColumn(width=340),
            "champion": st.column_config.NumberColumn(format="%.4f", width=80, help=f"its {metric} on the exam rows"),
            "challenger": st.column_config.NumberColumn(format="%.4f", width=85, help=f"its {metric} on the exam rows"),
            "new": st.column_config.TextColumn(width=50, help="the version that this run made"),
            "reason": st.column_config.TextColumn(width=370),
        },
        key="runs",
    )
