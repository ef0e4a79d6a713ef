"""Texts for the page: data and errors as they are, times in the reader's zone."""

import re
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from webapp.answers import number_text
from webapp.client import ApiDown, ApiProblem
from webapp.learning import is_error


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


def age(moment: datetime) -> str:
    """``just now``, ``5 minutes ago``, ``3 days ago``: in the largest unit that fits."""
    seconds = (datetime.now(UTC) - moment).total_seconds()
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            return f"{count(int(seconds // length), unit)} ago"
    return "just now"


def count(number: int, noun: str) -> str:
    """``1 row``, ``2 rows``, ``1,200 rows``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def metric_name(metric: str) -> str:
    """``balanced accuracy``, ``MAE``: the metric as people write it."""
    short = {"mae": "MAE", "rmse": "RMSE", "mape": "MAPE", "r2": "R²", "f1": "F1", "roc_auc": "ROC AUC"}
    return short.get(metric, metric.replace("_", " "))


def metric_title(metric: str) -> str:
    """The metric's name, with the direction when less is better."""
    return f"{metric_name(metric)} (less is better)" if is_error(metric) else metric_name(metric)


def score_text(score: float, metric: str) -> str:
    """A score to three decimals; an error, which may have any size, to four digits."""
    return number_text(score, digits=4) if is_error(metric) else f"{score:.3f}"


def next_retraining(rows: int | None) -> str:
    """How far the next retraining is; what else starts one when the number of rows does not."""
    if rows is None:
        return "The number of rows starts no retraining"
    return f"{count(rows, 'row')} to the next retraining"


def set_aside(reason: str | None) -> str:
    """Why a label is kept but not learnt yet, in the API's words if it gave any."""
    return plain(reason) if reason else "It is kept aside: its class is new, and learnt when there are enough rows."


def show_error(error: ApiDown | ApiProblem) -> None:
    """What went wrong, in the API's words, one line per field at fault."""
    fields = "".join(f"\n- {plain(field)}" for field in error.errors) if isinstance(error, ApiProblem) else ""
    st.error(plain(error) + ("\n" + fields if fields else ""), icon=":material/error:")


def _zone() -> tzinfo:
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return UTC
