"""A form for one datum, generated from the API's schema."""

import re
from collections import Counter

import streamlit as st
from pydantic import JsonValue

from webapp.answers import Datum
from webapp.schema import Field, Schema
from webapp.texts import plain

COLUMNS = 3
# Up to here one grid is quicker to read than tabs.
MOST_FIELDS_WITHOUT_TABS = 12
# A longer section scrolls within itself, so that the button below stays in sight.
MOST_FIELDS_WITHOUT_SCROLLING = 15
SCROLL_HEIGHT = 400


def show(schema: Schema) -> Datum:
    """The form's inputs, filled with the project's example row; what they hold now."""
    drafts: Datum = st.session_state.get("draft", schema.example)
    sections = _sections(schema.fields)
    if len(sections) == 1 or len(schema.fields) <= MOST_FIELDS_WITHOUT_TABS:
        given = _grid(list(schema.fields), drafts)
    else:
        given = {}
        for tab, fields in zip(st.tabs([plain(title) for title in sections]), sections.values(), strict=True):
            with tab:
                given |= _grid(fields, drafts)
    datum = {field.name: given[field.name] for field in schema.fields}
    # Streamlit forgets an input as soon as another page is shown.
    st.session_state["draft"] = datum
    return datum


def _sections(fields: tuple[Field, ...]) -> dict[str, list[Field]]:
    """The fields by kind, and numbers by the word their names begin or end with when several share it."""
    ends = {field.name: _first_and_last_word(field.name) for field in fields if field.kind == "number"}
    shared = Counter(word for words in ends.values() for word in set(words))
    titles = {"boolean": "Yes or no", "category": "Categories", "text": "Texts"}
    sections: dict[str, list[Field]] = {}
    for field in fields:
        title = titles.get(field.kind, "Numbers")
        if field.kind == "number":
            word = max(ends[field.name], key=lambda end: shared[end])
            title = word.capitalize() if shared[word] > COLUMNS else title
        sections.setdefault(title, []).append(field)
    return sections


def _first_and_last_word(name: str) -> tuple[str, str]:
    words = re.split(r"[\s_.:-]+", name.strip(" _.:-"))
    return words[0], words[-1]


def _grid(fields: list[Field], drafts: Datum) -> Datum:
    given: Datum = {}
    is_long = len(fields) > MOST_FIELDS_WITHOUT_SCROLLING
    with st.container(height=SCROLL_HEIGHT if is_long else "content", border=False):
        for start in range(0, len(fields), COLUMNS):
            columns = st.columns(COLUMNS, vertical_alignment="bottom")
            for column, field in zip(columns, fields[start : start + COLUMNS], strict=False):
                with column:
                    given[field.name] = _input(field, drafts.get(field.name))
    return given


def _input(field: Field, value: JsonValue) -> JsonValue:
    """One input; None when it is left empty, whether or not the column may be: that is the API's to say."""
    key, label, hint = f"field_{field.name}", plain(field.name), plain(field.description) or None
    placeholder = "missing" if field.nullable else "needs a value"
    if field.kind == "number":
        # The value goes in through the session, since an input born with a value cannot be emptied.
        st.session_state.setdefault(key, float(value) if isinstance(value, int | float) else None)
        number = st.number_input(
            label,
            value=None,
            key=key,
            help=hint,
            placeholder=placeholder,
            step=1.0 if field.integer else None,
            format="%g",
        )
        return int(number) if number is not None and field.integer and number.is_integer() else number
    if field.kind == "category":
        st.session_state.setdefault(key, value)
        return st.selectbox(
            label, field.choices, index=None, key=key, help=hint, placeholder=placeholder, accept_new_options=True
        )
    if field.kind == "text":
        st.session_state.setdefault(key, value or "")
        return st.text_area(label, key=key, help=hint, placeholder=placeholder, height=100) or None
    if not field.nullable:
        st.session_state.setdefault(key, bool(value))
        return st.toggle(label, key=key, help=hint)
    st.session_state.setdefault(key, value)
    return st.selectbox(
        label, [True, False], index=None, format_func=_yes_or_no, key=key, help=hint, placeholder=placeholder
    )


def _yes_or_no(value: bool) -> str:
    return "yes" if value else "no"
