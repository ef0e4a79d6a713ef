"""Another version made champion by hand: a button, a dialog that asks why, and what came of it."""

from dataclasses import dataclass

import streamlit as st

from webapp.client import ApiClient, ApiDown, ApiProblem
from webapp.learning import Models
from webapp.texts import plain, show_error

WISH = "promotion_wish"
OUTCOME = "promotion_outcome"


@dataclass(frozen=True)
class Wish:
    """A version to promote in place of the one that served when the user asked."""

    version: str
    replacing: str | None
    is_rollback: bool

    @property
    def verb(self) -> str:
        return f"{'Roll back to' if self.is_rollback else 'Promote'} {plain(self.version)}"


def offer(models: Models, version: str) -> None:
    """The button; the dialog follows in the page's own run, since a fragment's refresh would close it."""
    wish = Wish(version, models.champion, models.has_reigned(version))
    icon = ":material/undo:" if wish.is_rollback else ":material/upgrade:"
    if st.button(wish.verb, key="promote", icon=icon):
        st.session_state[WISH] = wish
        st.rerun()


def is_asking() -> bool:
    """Whether the dialog is open."""
    return WISH in st.session_state


def show_dialog(api: ApiClient) -> None:
    """The open question, if there is one, until it is answered or put away."""
    wish = st.session_state.get(WISH)
    if isinstance(wish, Wish):
        st.dialog(f"{wish.verb}?", on_dismiss=_put_away)(_ask)(api, wish)


def show_outcome() -> None:
    """What the last promotion came to, once."""
    # Always there, so that the rest of the page keeps its place.
    with st.container(key="promotion_outcome"):
        if outcome := st.session_state.pop(OUTCOME, None):
            st.success(outcome, icon=":material/check_circle:")


def _ask(api: ApiClient, wish: Wish) -> None:
    serving = f"**{plain(wish.replacing)}** serves now. " if wish.replacing else ""
    st.markdown(f"{serving}**{plain(wish.version)}** is loaded and checked first; no request is dropped.")
    with st.form("promotion", border=False):
        reason = st.text_input("Why", key="promotion_reason", max_chars=500, placeholder="the history keeps it")
        actor = st.text_input("Your name", key="promotion_actor", max_chars=100, placeholder="optional")
        with st.container(horizontal=True):
            is_sure = st.form_submit_button(wish.verb, key="promotion_confirm", type="primary")
            is_off = st.form_submit_button("Cancel", key="promotion_cancel")
    if is_off:
        _put_away()
        st.rerun()
    if is_sure and not reason.strip():
        st.error("Say why: whoever reads the history will ask.", icon=":material/error:")
    elif is_sure:
        _promote(api, wish, reason.strip(), actor.strip() or "webapp")


def _promote(api: ApiClient, wish: Wish, reason: str, actor: str) -> None:
    try:
        models = api.promote(wish.version, replacing=wish.replacing, reason=reason, actor=actor)
    except ApiDown as error:
        show_error(error)
        st.caption("Whether it took over is not known: look at who serves when the API is back.")
    except ApiProblem as problem:
        _explain(api, wish, problem)
    else:
        _put_away()
        st.session_state[OUTCOME] = (
            f"**{plain(models.champion)}** serves now, in place of {plain(models.previous)}: {plain(reason)}"
        )
        st.rerun()


def _explain(api: ApiClient, wish: Wish, problem: ApiProblem) -> None:
    """Why it was refused; that somebody else was quicker is no error of the user's."""
    try:
        now = api.models()
    except (ApiDown, ApiProblem):
        now = None
    if problem.status == 409 and now and now.champion != wish.replacing:
        why = f": {plain(now.reason)}" if now.reason else ""
        with st.container(key="promotion_conflict"):
            st.warning(
                f"Nothing was changed: **{plain(now.champion)}** took over meanwhile{why}. "
                "Cancel, look at it, and decide again.",
                icon=":material/sync_problem:",
            )
        return
    show_error(problem)
    st.caption("Nothing was changed.")


def _put_away() -> None:
    st.session_state.pop(WISH, None)
