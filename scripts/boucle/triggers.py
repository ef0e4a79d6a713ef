"""What requests a training run beside every k rows and POST /retrain: the clock, bad answers, drift.

Nothing is remembered between two looks but what is cheap to find again: that a run was already requested is known by
its idempotency key, so a trainer that starts anew repeats nothing.

Bad answers and drift are looked for whenever a window of rows is full, counted from the row at which the champion
stopped learning. A drift that it has learnt is none any more: rows are compared with those that it learnt last. While a
cause persists and no challenger wins, each trigger requests one run in windows 1 to 9 of the champion's reign, one in
10 to 19, one in 20 to 39, one in 40 to 79: with ever more evidence, and ever more rarely.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from cronsim import CronSim

from boucle import drift, live_metric, preparation
from boucle.artifacts import Artifacts
from boucle.config import Project
from boucle.contract import Classes, Target
from boucle.drift import Move, Row
from boucle.errors import CorruptArtifact, ModelNotFound, NotPrepared
from boucle.preparation import Preparation
from boucle.store import Feedback, Run, Store

log = logging.getLogger(__name__)

MOST_REFERENCE_ROWS = 2_000
# A window from which rows were set aside is judged by the others, if there are as many.
FEWEST_ROWS = 50
WINDOWS_OF_HISTORY = 20
WINDOWS_OF_FIRST_EPOCH = 5


@dataclass(frozen=True)
class Alarm:
    """A cause for a training run; the same key is the same cause."""

    trigger: str
    key: str
    reason: str


@dataclass(frozen=True)
class Reign:
    """A champion's time in charge: since when, behind which feedback row nothing is known to it, what it predicts."""

    version: str
    promoted_at: datetime
    feedback_row: int
    target: str

    @property
    def name(self) -> str:
        """Unique also when a version takes charge for the second time."""
        return f"{self.version} since {self.promoted_at.isoformat(timespec='milliseconds')}"


@dataclass
class _Seen:
    """Where the last looks stopped, for one reign."""

    reign: Reign
    metric_windows: int = 0
    drift_windows: int = 0
    last_prediction: str = ""
    reference: list[Row] | None = None
    moves: dict[int, list[Move]] = field(default_factory=dict)


class Triggers:
    """Requests the runs that are due; `check` is cheap while no window is full and no time has come."""

    def __init__(self, project: Project, data: Path, artifacts: Artifacts, store: Store) -> None:
        self._settings = project.triggers
        self._seed = project.training.seed
        self._data = data
        self._artifacts = artifacts
        self._store = store
        self._seen: _Seen | None = None
        self._next_time: datetime | None = None

    def check(self, now: datetime) -> Run | None:
        """The run that was requested, or None: nothing is due, or a run is under way, after which to look again.

        ``now`` is aware of its zone.
        """
        if not self._is_on or self._store.runs.is_any_active():
            return None
        reign = self._reign()
        if reign is None:
            return None
        if self._seen is None or self._seen.reign != reign:
            self._seen = _Seen(reign)
        for alarm in self._alarms(reign, self._seen, now):
            if self._store.runs.requested_with(alarm.key) is None:
                log.info("%s requests a run: %s", alarm.trigger, alarm.reason)
                return self._store.runs.request(alarm.trigger, alarm.key, alarm.reason)
        return None

    @property
    def _is_on(self) -> bool:
        return bool(self._settings.schedule.cron) or self._settings.metric.enabled or self._settings.drift.enabled

    def _reign(self) -> Reign | None:
        try:
            pointer = self._artifacts.champion()
            promoted_at = datetime.fromisoformat(pointer.promoted_at)
            known = self._seen.reign if self._seen else None
            if known and (known.version, known.promoted_at) == (pointer.version, promoted_at):
                return known
            manifest = self._artifacts.manifest(pointer.version)
        except (ModelNotFound, CorruptArtifact):  # nobody is in charge: a run would only say so
            return None
        return Reign(pointer.version, promoted_at, manifest.feedback_row, manifest.contract.target.name)

    def _alarms(self, reign: Reign, seen: _Seen, now: datetime) -> Iterator[Alarm]:
        if self._settings.schedule.cron:
            yield from self._scheduled(reign, now)
        if not (self._settings.metric.enabled or self._settings.drift.enabled):
            return
        rows = self._store.feedback.rows() - reign.feedback_row
        if self._settings.metric.enabled:
            yield from self._bad_answers(reign, seen, rows)
        if self._settings.drift.enabled:
            yield from self._drifted(reign, seen, rows)

    def _scheduled(self, reign: Reign, now: datetime) -> Iterator[Alarm]:
        if self._next_time is not None and now < self._next_time:
            return
        cron, moment = self._settings.schedule.cron, now.astimezone(UTC).replace(microsecond=0)
        # However many times were missed, the last one stands for all; and for one that was before the champion took
        # charge there is nothing to make up.
        last = next(CronSim(cron, moment + timedelta(seconds=1), reverse=True))
        if last > reign.promoted_at:
            time = last.isoformat(timespec="minutes")
            yield Alarm("schedule", f"schedule:{time}", f"schedule {cron!r}: {time}")
        self._next_time = next(CronSim(cron, moment))

    def _bad_answers(self, reign: Reign, seen: _Seen, rows: int) -> Iterator[Alarm]:
        settings = self._settings.metric
        full = rows // settings.window
        if full <= seen.metric_windows:
            return
        seen.metric_windows = full
        last = reign.feedback_row + full * settings.window
        first = max(reign.feedback_row, last - (1 + WINDOWS_OF_HISTORY) * settings.window)
        given = self._store.feedback.between(first, last, reign.version)
        if len(given) < settings.window:  # answers of its predecessor, whose labels came late
            return
        answers = [(feedback.target, feedback.prediction) for feedback in given]
        limits = live_metric.Limits(settings.floor, settings.ceiling, settings.drop)
        complaint = live_metric.complaint(answers[: -settings.window], answers[-settings.window :], limits)
        if complaint:
            yield Alarm("metric", f"metric:{reign.name}:{_epoch(full)}", f"live metric: {complaint}")

    def _drifted(self, reign: Reign, seen: _Seen, rows: int) -> Iterator[Alarm]:
        settings = self._settings.drift
        full = rows // settings.window
        if not full:
            yield from self._drifted_without_labels(reign, seen)
        if full <= seen.drift_windows:
            return
        seen.drift_windows = full
        newest = range(max(0, full - settings.windows), full)
        seen.moves = {number: seen.moves.get(number) or self._labelled_window(reign, seen, number) for number in newest}
        yield from self._sustained(list(seen.moves.values()), f"drift:{reign.name}:{_epoch(full)}")

    def _drifted_without_labels(self, reign: Reign, seen: _Seen) -> Iterator[Alarm]:
        """Drift of the inputs that were predicted while no labels come: once a reign, as there is nothing to learn."""
        settings = self._settings.drift
        if self._store.predictions.count_after(seen.last_prediction, settings.window) < settings.window:
            return
        logged = self._store.predictions.newest(settings.windows * settings.window)
        seen.last_prediction = logged[-1].prediction_id
        inputs = [one.input for one in logged if datetime.fromisoformat(one.created_at) > reign.promoted_at]
        starts = range(len(inputs) % settings.window, len(inputs), settings.window)
        windows = [self._moves(reign, seen, inputs[start : start + settings.window]) for start in starts]
        yield from self._sustained(windows, f"drift:{reign.name}:unlabelled")

    def _labelled_window(self, reign: Reign, seen: _Seen, number: int) -> list[Move]:
        size = self._settings.drift.window
        start = reign.feedback_row + number * size
        return self._moves(reign, seen, _rows(self._store.feedback.between(start, start + size), reign.target))

    def _moves(self, reign: Reign, seen: _Seen, rows: Sequence[Row]) -> list[Move]:
        if len(rows) < FEWEST_ROWS:
            return []
        if seen.reference is None:
            seen.reference = self._reference(reign)
        return drift.compare(seen.reference, rows, self._seed) if seen.reference else []

    def _sustained(self, windows: Sequence[Sequence[Move]], key: str) -> Iterator[Alarm]:
        settings = self._settings.drift
        moves = drift.sustained(windows, settings.sustained, settings.effect)
        if moves:
            others = f", and {len(moves) - 1} more" if len(moves) > 1 else ""
            often = f"in at least {settings.sustained} of the last {settings.windows} windows of {settings.window} rows"
            yield Alarm("drift", key, f"drift: {moves[0]}{others}, {often}")

    def _reference(self, reign: Reign) -> list[Row]:
        """The rows that the champion learnt last; the held-out rows as long as it learnt none from production.

        As many as an alarm needs: those that caused it are what its winner has learnt, and older ones, of the world
        before, would cause it again. Held out or not, the prepared rows are of one population, and only these are kept
        as records.
        """
        settings = self._settings.drift
        first = max(0, reign.feedback_row - max(2, settings.sustained) * settings.window)
        learnt = self._store.feedback.between(first, reign.feedback_row)
        if len(learnt) >= settings.window:
            return _rows(learnt, reign.target)
        try:
            return _held_out(preparation.load(self._data), self._seed)
        except NotPrepared as reason:
            log.warning("no verdict on drift: %s", reason)
            return []


def _epoch(full_windows: int) -> int:
    return max(1, full_windows // WINDOWS_OF_FIRST_EPOCH).bit_length() - 1


def _rows(given: Sequence[Feedback], target: str) -> list[Row]:
    """Inputs with the true value as one more column; a class, also one that is written as an integer, is a category."""
    return [
        {**one.input, target: float(one.target) if isinstance(one.prediction, float) else str(one.target)}
        for one in given
    ]


def _held_out(prepared: Preparation, seed: int) -> list[Row]:
    target, labels, rows = prepared.contract.target, prepared.test_labels, len(prepared.test_labels)
    chosen = np.random.default_rng(seed).choice(rows, min(rows, MOST_REFERENCE_ROWS), replace=False)
    return [{**prepared.test_records[position], target.name: _truth(target, labels[position])} for position in chosen]


def _truth(target: Target, label: float) -> float | str:
    return str(target.classes[int(label)]) if isinstance(target, Classes) else float(label)
