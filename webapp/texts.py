"""Texts for the page: data and errors as they are, times in the reader's zone."""

import re
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from webapp.client import ApiDown, ApiProblem


def plain(text: object) -> str:
    """Text that Streamlit shows as it stands: data must not become Markdown, a link or a picture."""
    escaped = re.sub(r"([\\`*_{}\[\]()#+\-.!|<>~$:^&=/@])", r"\\\1", " ".join(str(text).split()))
    # An escaped address is still made a link; an invisible word joiner within it prevents that.
    return re.sub(r"(?i)(https?|www)(?=\\)", "\\1\u2060", escaped)


def clock(moment: datetime | None) -> str:
    """The moment in the reader's time zone, with the date unless it is today; empty for None."""
    if moment is None:
        return ""
    local = moment.astimezone(_zone())
    is_today = local.date() == datetime.now(local.tzinfo).date()
    return local.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M:%S")


def count(number: int, noun: str) -> str:
    """``1 row``, ``2 rows``, ``1,200 rows``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def to_next_retraining(rows: int | None) -> str:
    """``12 rows to the next retraining``; None where no number of rows requests one."""
    return "No number of rows requests a retraining" if rows is None else f"{count(rows, 'row')} to the next retraining"


def show_error(error: ApiDown | ApiProblem) -> None:
    """What went wrong, in the API's words, one line per field at fault."""
    fields = "".join(f"\n- {plain(field)}" for field in error.errors) if isinstance(error, ApiProblem) else ""
    st.error(plain(error) + ("\n" + fields if fields else ""), icon=":material/error:")


def _zone() -> tzinfo:
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return UTC
