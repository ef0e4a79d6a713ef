"""The strip at the side of every page: is the API up, which version serves, how far is the next retraining."""

from dataclasses import dataclass

import streamlit as st

from webapp import verdicts
from webapp.client import ApiClient, ApiDown, ApiProblem
from webapp.learning import Loop, Models, TrainingRun
from webapp.texts import clock, count, next_retraining, plain
from webapp.views import promotion

REFRESH_SECONDS = 2


@dataclass(frozen=True)
class Status:
    """What the API said when it was last asked; either an outage, or both answers."""

    loop: Loop | None = None
    models: Models | None = None
    outage: str | None = None


def current() -> Status:
    """The newest status; the strip asks for it, the pages only read it."""
    status = st.session_state.get("status")
    return status if isinstance(status, Status) else Status()


@st.fragment(run_every=REFRESH_SECONDS)
def show(api: ApiClient) -> None:
    """Ask and draw, every two seconds, without rerunning the page; rerun it only when the API went or came back."""
    before, now = current(), _ask(api)
    st.session_state["status"] = now
    # The key is absent while the page itself runs, so that only a later refresh can restart it: a restart in
    # the page's own run would swallow the click that caused the run.
    if st.session_state.get("outage_shown", now.outage) != now.outage:
        st.rerun()
    _announce_takeover(before.models, now.models)
    with st.container(key="status_strip", gap="small"):
        if now.loop and now.models:
            _draw(now.loop, now.models)
        else:
            st.badge("API down", icon=":material/cloud_off:", color="red")
            st.caption("Asking again every two seconds.")


def _ask(api: ApiClient) -> Status:
    try:
        return Status(loop=api.loop(), models=api.models())
    except (ApiDown, ApiProblem) as error:
        return Status(outage=str(error))


def _announce_takeover(before: Models | None, now: Models | None) -> None:
    # Remembered apart from the status: a version that took over during an outage is news too.
    seen = st.session_state.get("champion_seen") or (before.champion if before else None)
    # A toast would take the place of an open dialog: the news waits until it is closed.
    if not now or not now.champion or promotion.is_asking():
        return
    st.session_state["champion_seen"] = now.champion
    if seen and seen != now.champion:
        st.toast(
            f"**{plain(now.champion)}** took over from {plain(seen)} at {clock(now.promoted_at)}",
            icon=":material/published_with_changes:",
            duration="long",
        )


def _draw(loop: Loop, models: Models) -> None:
    with st.container(horizontal=True, gap="small"):
        st.badge("API up", icon=":material/check_circle:", color="green")
        if loop.active_runs:
            st.badge("training", icon=":material/model_training:", color="blue")
    with st.container(key="status_version", gap=None):
        st.caption("Serving version")
        st.markdown(f"#### {plain(models.champion or 'none yet')}")
        if models.promoted_at:
            st.caption(f"since {clock(models.promoted_at)}")
    if models.previous and models.champion:
        with st.container(key="takeover"):
            st.info(
                f"**{plain(models.champion)}** took over from {plain(models.previous)} at {clock(models.promoted_at)}",
                icon=":material/published_with_changes:",
            )
    with st.container(key="status_feedback", gap=None):
        st.caption("Feedback")
        st.markdown(f"#### {count(loop.feedback_rows, 'row')}")
    with st.container(key="rows_missing"):
        if loop.k and loop.rows_to_next_retraining is not None:
            share = min(1.0, max(0.0, 1 - loop.rows_to_next_retraining / loop.k))
            st.progress(share, text=next_retraining(loop.rows_to_next_retraining))
    with st.container(key="status_run", gap=None):
        st.caption("Last training run")
        _draw_run(loop.last)


def _draw_run(run: TrainingRun | None) -> None:
    if run is None:
        st.markdown("none yet")
        return
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.markdown(f"\\#{plain(run.id)} {plain(run.state)}", width="content")
        if run.verdict:
            st.badge(plain(run.verdict), color=verdicts.color(run.verdict))
