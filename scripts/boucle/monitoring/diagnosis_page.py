"""A diagnosis as one HTML page that needs nothing else: no script, no font, no file beside it."""

from datetime import datetime
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from boucle.contract import Classes
from boucle.drift.moves import CRITICAL
from boucle.monitoring import plots
from boucle.monitoring.diagnosis import Diagnosis

# Of the columns that moved; the others are folded away.
MOST_SHOWN = 10
MOST_DRAWN = 6


def render(diagnosis: Diagnosis) -> str:
    """The page; every text that comes from data is escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["clock"] = _clock
    environment.filters["number"] = _number
    evidence = diagnosis.evidence
    return environment.from_string(
        files("boucle.monitoring").joinpath("diagnosis.html").read_text("utf-8")
    ).render(
        diagnosis=diagnosis,
        evidence=evidence,
        seen=evidence.observation,
        has_classes=isinstance(evidence.contract.target, Classes),
        metric=evidence.metric.replace("_", " ") if "_" in evidence.metric else evidence.metric.upper(),
        most_shown=MOST_SHOWN,
        critical=f"{CRITICAL:g}",
        # Escaped by matplotlib where it writes them.
        quality_plot=Markup(plots.quality(evidence)),  # noqa: S704
        drawn=[(one, Markup(plots.column(one, evidence))) for one in diagnosis.moved[:MOST_DRAWN]],  # noqa: S704
    )


def _clock(moment: str | None) -> str:
    return f"{datetime.fromisoformat(moment):%Y-%m-%d %H:%M:%S}" if moment else ""


def _number(value: float | None, digits: int = 3) -> str:
    return "" if value is None else f"{value:,.{digits}f}" if abs(value) < 1_000 else f"{value:,.0f}"
