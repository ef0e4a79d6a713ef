"""The versions: who serves and why, what the last exam found, who served before, and the way to another one."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pandas as pd
import streamlit as st

from webapp import model_charts, status, verdicts
from webapp.client import ApiClient, ApiDown, ApiProblem
from webapp.learning import Exam, Loop, Models, ModelVersion, TrainingRun
from webapp.schema import Schema
from webapp.texts import age, clock, metric_title, next_retraining, plain, score_text, show_error
from webapp.views import promotion, training

TABLE_HEIGHT = 280
COLORS = {"promoted": "green", "insufficient evidence": "orange", "rejected": "gray"}


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
    _show_versions(api, now.loop, now.models)


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
        last = loop.runs[0] if loop.runs else None
        if last and last.state == "failed":
            st.error(f"Run \\#{plain(last.id)} failed: {plain(last.reason or 'no reason given')}")
        elif last:
            with st.container(horizontal=True, gap="small", vertical_alignment="center"):
                st.markdown(f"Run \\#{plain(last.id)} {plain(last.state)}", width="content")
                _show_verdict(last.verdict)
            st.caption(f"Started by {training.trigger(last)}, {clock(last.requested_at)}")
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
            st.markdown("**Gain of the best challenger**")
            st.altair_chart(model_charts.gain(run.exam), key="gain_chart")
            st.caption(_how_to_read(run.exam))
    with challengers:
        if any(one.score is not None for one in run.exam.challengers):
            st.markdown("**Every challenger**")
            st.altair_chart(model_charts.challengers(run.exam), key="challengers_chart")


def _how_to_read(exam: Exam) -> str:
    if exam.strict:
        return "The true gain lies within the line. A challenger is promoted when the whole line lies in the green."
    return "The true gain lies within the line. Promoted is a point in the green whose line stays out of the red."


def _show_verdict(verdict: str | None) -> None:
    if verdict:
        st.badge(plain(verdict), color=COLORS.get(verdict, "gray"))  # type: ignore[arg-type]  # a literal of colors


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


def _show_versions(api: ApiClient, loop: Loop, models: Models) -> None:
    st.subheader("Versions")
    if not models.models:
        st.caption("No version yet.")
        return
    versions = [model.version for model in models.models]
    chosen = st.session_state.get("chosen_version")
    # A new version moves the rows: another key, so that the choice follows its version and not its place.
    key = f"versions_{versions[0]}_{len(versions)}"
    rows = [versions.index(chosen)] if chosen in versions else []
    metric = metric_title(models.models[0].metric)
    st.dataframe(
        _table(models),
        hide_index=True,
        height=min(TABLE_HEIGHT, 38 + 35 * len(versions)),
        placeholder="",
        column_config={"role": st.column_config.TextColumn(width=85)}
        | {
            name: st.column_config.NumberColumn(format="%.4f", help=f"{metric} {where}")
            for name, where in (
                ("held-out", "on rows that no version has learnt"),
                ("in exam", "in the exam that it sat"),
                ("champion then", "of the champion in that exam"),
            )
        },
        key=key,
        on_select=_choose(key, versions),
        selection_mode="single-row",
        selection_default={"selection": {"rows": rows, "columns": [], "cells": []}},
    )
    model = models.find(chosen)
    if model:
        _show_version(api, model, loop, models)
    else:
        st.caption("Tick a version to read its card, to promote it, or to roll back to it.")


def _choose(key: str, versions: list[str]) -> Callable[[], None]:
    def choose() -> None:
        rows = st.session_state[key]["selection"]["rows"]
        st.session_state["chosen_version"] = versions[rows[0]] if rows else None

    return choose


def _table(models: Models) -> pd.DataFrame:
    exams = [model.metrics.get("exam", {}) for model in models.models]
    roles = {models.previous: "previous", models.champion: "champion"}
    return pd.DataFrame(
        {
            "version": [model.version for model in models.models],
            "role": [roles.get(model.version, "") for model in models.models],
            "verdict": [model.verdict or "" for model in models.models],
            "recipe": [model.recipe for model in models.models],
            "held-out": pd.Series([model.score for model in models.models], dtype=float),
            "in exam": pd.Series([exam.get("challenger") for exam in exams], dtype=float),
            "champion then": pd.Series([exam.get("champion") for exam in exams], dtype=float),
            "rows": [model.rows for model in models.models],
            "created": [clock(model.created_at) for model in models.models],
            "run": [f"#{model.run_id}" if model.run_id is not None else "" for model in models.models],
            "parent": [model.parent_version or "" for model in models.models],
        }
    )


def _show_version(api: ApiClient, model: ModelVersion, loop: Loop, models: Models) -> None:
    with st.container(border=True, key="version"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.markdown(f"### {plain(model.version)}", width="content")
            if model.version == models.champion:
                st.badge("serving", color="green", icon=":material/check_circle:")
            else:
                promotion.offer(models, model.version)
        if reason := _reason(model, loop, models):
            st.markdown(plain(reason))
        card = _card(api, model)
        if card:
            with st.expander("Model card", expanded=True, icon=":material/description:", key="model_card"):
                # Below the page's own headings.
                st.markdown(re.sub(r"^#(?=#* )", "####", card, flags=re.MULTILINE))


def _reason(model: ModelVersion, loop: Loop, models: Models) -> str | None:
    """Why it last became champion; for one that never did, what came of the run that made it."""
    reign = next((reign for reign in models.history if reign.version == model.version), None)
    run = next((run for run in loop.runs if run.id == model.run_id), None)
    return reign.reason if reign else run.reason if run else None


def _card(api: ApiClient, model: ModelVersion) -> str | None:
    """The model card, asked for once, since a version never changes; None when it cannot be had."""
    cards: dict[tuple[str, datetime], str] = st.session_state.setdefault("model_cards", {})
    name = (model.version, model.created_at)
    if name not in cards:
        try:
            cards[name] = api.model_card(model.version)
        except (ApiDown, ApiProblem) as error:
            show_error(error)
    return cards.get(name)
