"""The five numbers that say at a glance whether the model is well, each with a verdict in a word."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from webapp.latency import Latency
from webapp.learning import is_error
from webapp.production import Drift, Labels, Observation
from webapp.texts import count, metric_name, score_text

# The API gives no verdict on fewer: see FEWEST_ROWS in boucle.monitoring.observe.
FEWEST_ROWS = 50
# So far below what is expected is worth a look, or an error that is larger by this share.
NOTABLE = 0.05
# From which p99 on the alert LatencyHigh fires.
SLOW_SECONDS = 0.05

State = Literal["ok", "warning", "bad", "unknown"]


@dataclass(frozen=True)
class Vital:
    """One number, what it is called, the word that judges it, and what it is compared with."""

    name: str
    value: str
    state: State
    word: str
    detail: str


def vitals(seen: Observation, metric: str, latency: Latency | None) -> Sequence[Vital]:
    """Quality, what it is estimated to be, drift, labels, latency."""
    return (
        _quality(seen, metric),
        _estimate(seen),
        _drift(seen.drift, seen.served.rows),
        _labels(seen.labels, seen.served.rows, seen.labelled.rows),
        _latency(latency),
    )


def duration(seconds: float) -> str:
    """``0.4 ms``, ``120 ms``, ``3.2 s``, ``5 min``, ``2.5 h``, ``3 days``: in the unit that fits."""
    for unit, length in (("days", 2 * 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if seconds >= length:
            return f"{_two_digits(seconds / (86_400 if unit == 'days' else length))} {unit}"
    return f"{_two_digits(seconds * 1_000)} ms"


def _two_digits(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"


def _quality(seen: Observation, metric: str) -> Vital:
    name, now, expected = metric_name(metric), seen.quality.get(metric), seen.expected.get(metric)
    name = name[0].upper() + name[1:]
    if now is None:
        return Vital(name, "—", "unknown", "no labels yet", _expected(expected, metric))
    state, word = _judged(seen, now, expected, metric)
    rows = "the newest are not surely worse" if state == "warning" else f"newest {count(seen.labelled.rows, 'label')}"
    return Vital(name, score_text(now, metric), state, word, f"{_expected(expected, metric)}; {rows}")


def _judged(seen: Observation, now: float, expected: float | None, metric: str) -> tuple[State, str]:
    if seen.complaint:
        return "bad", "worse" if is_error(metric) else "fallen"
    if seen.labelled.rows < FEWEST_ROWS:
        return "unknown", "too few labels"
    if expected is None:
        return "unknown", "not judged"
    worse = now / expected - 1 if is_error(metric) and expected else expected - now
    if worse <= NOTABLE:
        return "ok", "as expected"
    # No complaint: of the newest labels, which it is about, the fall is over, or may be chance.
    return "warning", "higher" if is_error(metric) else "lower"


def _expected(expected: float | None, metric: str) -> str:
    return "nothing to compare with" if expected is None else f"expected {score_text(expected, metric)}"


def _estimate(seen: Observation) -> Vital:
    name, now, expected = "Estimated accuracy", seen.estimated_accuracy, seen.expected.get("accuracy")
    if seen.is_of_quantity:
        return Vital(name, "—", "unknown", "not for numbers", "it is made of the probabilities of classes")
    if now is None:
        return Vital(name, "—", "unknown", "too few rows", "before labels come, from how sure the model is")
    low = expected is not None and now < expected - NOTABLE
    detail = "" if expected is None else f"expected {score_text(expected, 'accuracy')}; "
    return Vital(
        name,
        score_text(now, "accuracy"),
        "bad" if low else "ok",
        "low" if low else "as expected",
        f"{detail}needs no label",
    )


def _drift(drift: Drift | None, served: int) -> Vital:
    name = "Drifted columns"
    if drift is None:
        missing = f"{count(served, 'row')} of the {FEWEST_ROWS} that a verdict needs"
        return Vital(name, "—", "unknown", "too few rows", missing)
    moved = len(drift.drifted_columns)
    detail = f"{moved:,} of {count(drift.n_columns, 'column')}"
    if drift.share_limit is not None:
        detail += f"; too many from {drift.share_limit:.0%} on"
    value = f"{drift.share:.0%}"
    if drift.drifted:
        return Vital(name, value, "bad", "drifted", detail)
    return Vital(name, value, "warning" if moved else "ok", "some moved" if moved else "calm", detail)


def _labels(labels: Labels, served: int, labelled: int) -> Vital:
    name, median, slow = "Labels", labels.delay_seconds.get("0.5"), labels.delay_seconds.get("0.95")
    if labels.coverage is None:
        return Vital(name, "—", "unknown", "no rows yet", "the share of predictions whose true value came")
    value = f"{labels.coverage:.0%}"
    if not labelled:
        state: State = "warning" if served >= FEWEST_ROWS else "unknown"
        return Vital(name, value, state, "none came", "no quality can be told without")
    delay = f"half within {duration(median)}" if median is not None else "clients bring data of their own"
    if slow is not None:
        delay += f", 95% within {duration(slow)}"
    return Vital(name, value, "ok", "coming", delay)


def _latency(latency: Latency | None) -> Vital:
    name = "Latency p50 / p99"
    if latency is None:
        return Vital(name, "—", "unknown", "no requests yet", "of a prediction")
    since = "since start" if latency.seconds is None else f"of the last {duration(latency.seconds)}"
    slow = latency.p99 > SLOW_SECONDS
    detail = f"{count(latency.requests, 'request')} {since}"
    p50, p99 = duration(latency.p50), duration(latency.p99)
    is_same_unit = p50.split()[1] == p99.split()[1]
    value = f"{p50.split()[0] if is_same_unit else p50} / {p99}"
    return Vital(name, value, "bad" if slow else "ok", "slow" if slow else "fast", detail)
