"""The versions: who serves and why, what the last exam found, who served before, and the way to another one."""

from datetime import UTC, datetime, timedelta

import streamlit as st

from webapp import model_charts, status, verdicts
from webapp.client import ApiClient
from webapp.learning import Exam, Loop, Models, ModelVersion, TrainingRun
from webapp.schema import Schema
from webapp.texts import age, clock, metric_title, next_retraining, plain, score_text
from webapp.views import promotion, training, versions


def show(api: ApiClient, schema: Schema) -> None:
    """All of it, kept up to date; a promotion asks in a dialog, which no refresh closes."""
    st.title("Models")
    st.caption(f"{plain(schema.project)}: who serves and why, what the last exam found, and the way back.")
    promotion.show_outcome()
    _show_live(api)
    promotion.show_dialog(api)


@st.fragment(run_every=status.REFRESH_SECONDS)
def _show_live(api: ApiClient) -> None:
    now = status.current()
    if now.loop is None or now.models is None:
        st.caption("The versions appear here as soon as the API answers.")
        return
    left, right = st.columns([13, 8], gap="medium")
    with left:
        _show_champion(now.models)
    with right:
        _show_training(now.loop)
    _show_exam(now.loop.examined)
    _show_past(now.models)
    versions.show(api, now.loop, now.models)


def _show_champion(models: Models) -> None:
    champion = models.find(models.champion)
    with st.container(border=True, key="champion", height="stretch"):
        if models.champion is None or champion is None:
            st.markdown("**No champion yet**")
            st.caption("The first training puts one in place.")
            return
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.caption("Serving", width="content")
            st.badge(plain(champion.recipe), icon=":material/deployed_code:", color="primary")
        st.markdown(f"## {plain(models.champion)}")
        if models.promoted_at:
            st.markdown(f"since {clock(models.promoted_at)}, {age(models.promoted_at)}")
        if champion.score is not None:
            before = models.find(models.previous)
            compared = f" ({_score(before)} for {plain(before.version)})" if before and before.score is not None else ""
            st.markdown(f"{plain(metric_title(champion.metric))} {_score(champion)} on held-out rows{compared}")
        by = f" (by {plain(models.actor)})" if models.actor else ""
        if models.reason:
            st.caption(f"Why: {plain(models.reason)}{by}")


def _score(model: ModelVersion) -> str:
    return "" if model.score is None else plain(score_text(model.score, model.metric))


def _show_training(loop: Loop) -> None:
    with st.container(border=True, key="training", height="stretch"):
        st.caption("Training")
        if loop.active_runs:
            training.show_active(loop)
            return
        last = loop.last
        if last and last.state == "failed":
            st.error(f"Run \\#{plain(last.id)} failed: {plain(last.reason or 'no reason given')}")
        elif last:
            with st.container(horizontal=True, gap="small", vertical_alignment="center"):
                st.markdown(f"Run \\#{plain(last.id)} {plain(last.state)}", width="content")
                _show_verdict(last.verdict)
            st.caption(f"Started by {plain(training.trigger(last))}, {clock(last.requested_at)}")
        else:
            st.markdown("No run yet")
        st.caption(f"{next_retraining(loop.rows_to_next_retraining)}.")


def _show_exam(run: TrainingRun | None) -> None:
    st.subheader("Last exam")
    if run is None or run.exam is None:
        st.caption(
            "None to show yet: a challenger sits one against the champion when there is feedback to judge both by."
        )
        return
    with st.container(horizontal=True, gap="small", vertical_alignment="center", key="exam_verdict"):
        _show_verdict(run.verdict)
        st.markdown(plain(verdicts.sentence(run)), width="stretch")
    looks = f", look {run.exam.look} at this champion" if run.exam.look > 1 else ""
    st.caption(f"Run \\#{plain(run.id)}, {clock(run.finished_at or run.requested_at)}, {run.exam.rows:,} rows{looks}")
    gain, challengers = st.columns(2, gap="large")
    with gain:
        if run.exam.difference is None:
            st.caption("The gain cannot be measured on these rows.")
        else:
            st.markdown("**Gain of the challengers**")
            st.altair_chart(model_charts.gain(run.exam), key="gain_chart")
            st.caption(_how_to_read(run.exam))
    with challengers:
        if any(one.score is not None for one in run.exam.challengers):
            st.markdown("**Every challenger**")
            st.altair_chart(model_charts.challengers(run.exam), key="challengers_chart")
            if verdicts.is_by_several(run.exam):
                st.caption("A tick is a part of the rows. The gain is of whoever had led until each part.")


def _how_to_read(exam: Exam) -> str:
    if exam.strict:
        return "The true gain lies within the line. A challenger is promoted when the whole line lies in the green."
    return "The true gain lies within the line. Promoted is a point in the green whose line stays out of the red."


def _show_verdict(verdict: str | None) -> None:
    if verdict:
        st.badge(plain(verdict), color=verdicts.color(verdict))


def _show_past(models: Models) -> None:
    history, scores = st.columns([13, 8], gap="large")
    with history:
        st.subheader("Champions")
        if models.history:
            st.altair_chart(model_charts.reigns(models, _now(models)), key="reigns_chart")
            champions = len({reign.version for reign in models.history})
            if champions > model_charts.MOST_LANES:
                st.caption(f"The newest {model_charts.MOST_LANES} of {champions} champions.")
        else:
            st.caption("The history is not known.")
    with scores:
        st.subheader("Held-out score")
        if any(model.score is not None for model in models.models):
            st.altair_chart(model_charts.scores(models.models), key="scores_chart")
        else:
            st.caption("No version was scored on held-out rows.")


def _now(models: Models) -> datetime:
    """The present, in steps of a fiftieth of the history: a chart that changes at every refresh would flicker."""
    now = datetime.now(UTC)
    step = max(10.0, (now - models.history[-1].since).total_seconds() / 50)
    return now + timedelta(seconds=step - now.timestamp() % step)
