"""The training under way, as both the Loop and the Models page show it."""

import streamlit as st

from webapp.learning import Loop, TrainingRun
from webapp.texts import clock, plain


def show_active(loop: Loop) -> None:
    """Every run that is running or waiting, oldest first, with how far it is."""
    for run in reversed(loop.active_runs):
        _show_progress(run)


def trigger(run: TrainingRun) -> str:
    """What started the run, and why; the reason alone where it names the trigger, as the API's often do."""
    reason = run.trigger_reason or ""
    return reason if run.trigger in reason else f"{run.trigger}: {reason}" if reason else run.trigger


def _show_progress(run: TrainingRun) -> None:
    with st.container(key=f"progress_{run.id}", gap="small"):
        st.markdown(
            f"**Run \\#{plain(run.id)}** {'waits for the trainer' if run.state == 'requested' else 'is running'}"
        )
        if run.state == "running":
            share = min(1.0, max(0.0, run.progress_share or 0.0))
            st.progress(share, text=plain(run.progress or "starting"))
        st.caption(f"Started by {plain(trigger(run))}, {clock(run.requested_at)}")
