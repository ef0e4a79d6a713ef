"""Every version with its metrics and its verdict; of a chosen one the card, the reason, and the way to it."""

import re
from collections.abc import Callable
from datetime import datetime

import pandas as pd
import streamlit as st

from webapp.client import ApiClient, ApiDown, ApiProblem
from webapp.learning import Loop, Models, ModelVersion
from webapp.texts import clock, metric_title, plain, show_error
from webapp.views import promotion

TABLE_HEIGHT = 280


def show(api: ApiClient, loop: Loop, models: Models) -> None:
    """The table, and the card of the version that is ticked in it."""
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
    for damaged in models.damaged:
        st.warning(f"{plain(damaged.version)} is damaged: {plain(damaged.reason)}", icon=":material/broken_image:")
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
