"""Training runs: requested, claimed under a lease, finished; one at a time."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from boucle.errors import LeaseLost, RunNotFound
from boucle.exam import Exam
from boucle.store.database import TRAINING_RUNS, Database, now

MOST_ATTEMPTS = 3


@dataclass(frozen=True)
class Run:
    """One training run. ``state``: requested, running, finished, failed or coalesced; ``verdict`` once finished."""

    id: int
    trigger: str
    state: str
    requested_at: str
    attempts: int
    metrics: dict[str, Any]
    trigger_reason: str | None = None
    strategy: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    parent_version: str | None = None
    version: str | None = None
    verdict: str | None = None
    reason: str | None = None
    mlflow_run_id: str | None = None
    coalesced_into: int | None = None
    progress: str | None = None
    progress_share: float | None = None
    exam: Exam | None = None


COLUMNS = [TRAINING_RUNS.c[name] for name in Run.__dataclass_fields__]


class TrainingRuns:
    """The table of training runs: a queue whose consumer may die at any moment."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def request(self, trigger: str, idempotency_key: str | None = None, trigger_reason: str | None = None) -> Run:
        """A new request; the same key again gives the first one."""
        with self._database.writing() as connection:
            if idempotency_key is not None:
                found = _by_key(connection, idempotency_key)
                if found:
                    return found
            run_id = self.request_within(
                connection, trigger, idempotency_key=idempotency_key, trigger_reason=trigger_reason
            )
            return self._get(connection, run_id)

    def request_within(
        self,
        connection: sa.Connection,
        trigger: str,
        feedback_row: int | None = None,
        idempotency_key: str | None = None,
        trigger_reason: str | None = None,
    ) -> int:
        """Add a request to the caller's transaction; its number."""
        run_id = (connection.execute(sa.select(sa.func.max(TRAINING_RUNS.c.id))).scalar_one() or 0) + 1
        connection.execute(
            sa.insert(TRAINING_RUNS).values(
                id=run_id,
                trigger=trigger,
                trigger_reason=trigger_reason,
                state="requested",
                idempotency_key=idempotency_key,
                feedback_row=feedback_row,
                requested_at=now(),
                metrics="{}",
                attempts=0,
            )
        )
        return run_id

    def claim(self, owner: str, lease_seconds: float) -> Run | None:
        """The run that ``owner`` must carry out now, or None: nothing is requested, or another one is running.

        A run whose lease ran out is taken over; after `MOST_ATTEMPTS` it has failed. Requests that waited beside the
        claimed one are coalesced into it: it will see all the rows that they would have seen.
        """
        with self._database.writing() as connection:
            runs = TRAINING_RUNS.c
            running = connection.execute(
                sa.select(runs.id, runs.attempts, runs.lease_until).where(runs.state == "running")
            ).one_or_none()
            if running and running.lease_until > now():
                return None
            if running and running.attempts >= MOST_ATTEMPTS:
                reason = f"the trainer died {running.attempts} times in this run"
                _update(connection, running.id, state="failed", reason=reason, finished_at=now(), lease_until=None)
                running = None
            waiting = connection.execute(
                sa.select(runs.id, runs.attempts).where(runs.state == "requested").order_by(runs.id)
            ).all()
            claimed = running or (waiting[0] if waiting else None)
            if claimed is None:
                return None
            _update(
                connection,
                claimed.id,
                state="running",
                owner=owner,
                lease_until=_after(lease_seconds),
                started_at=now(),
                attempts=claimed.attempts + 1,
            )
            for other in waiting:
                if other.id != claimed.id:
                    into = {"coalesced_into": claimed.id, "reason": f"coalesced into run {claimed.id}"}
                    _update(connection, other.id, state="coalesced", finished_at=now(), **into)
            return self._get(connection, claimed.id)

    def renew(self, run: Run, owner: str, lease_seconds: float) -> None:
        """Keep the run: the trainer is alive.

        Raises:
            LeaseLost: when another trainer holds the run by now.
        """
        self._update_owned(run, owner, lease_until=_after(lease_seconds))

    def note(self, run: Run, owner: str, **values: str | float | None) -> None:
        """Write columns of a run that is under way.

        Raises:
            LeaseLost: when another trainer holds the run by now.
        """
        self._update_owned(run, owner, **values)

    def finish(self, run: Run, owner: str, state: str, metrics: Mapping[str, Any], **values: str | None) -> None:
        """End the run as ``finished`` or ``failed``.

        Raises:
            LeaseLost: when another trainer holds the run by now.
        """
        finished: dict[str, str | float | None] = {"metrics": json.dumps(metrics), "finished_at": now()}
        finished |= dict.fromkeys(("lease_until", "progress", "progress_share"))
        self._update_owned(run, owner, state=state, **finished, **values)

    def get(self, run_id: int) -> Run:
        """The run with this number.

        Raises:
            RunNotFound: when there is none.
        """
        with self._database.reading() as connection:
            return self._get(connection, run_id)

    def is_due(self) -> bool:
        """Whether `claim` would find something to do: a request, or a run whose trainer died."""
        runs = TRAINING_RUNS.c
        dead = sa.and_(runs.state == "running", runs.lease_until <= now())
        query = sa.select(runs.state, dead).where(runs.state.in_(("requested", "running")))
        with self._database.reading() as connection:
            found = connection.execute(query).all()
        return any(is_dead for _, is_dead in found) or {state for state, _ in found} == {"requested"}

    def running(self, owner: str) -> Run | None:
        """The run that ``owner`` is carrying out, or None."""
        query = sa.select(*COLUMNS).where(TRAINING_RUNS.c.state == "running", TRAINING_RUNS.c.owner == owner)
        with self._database.reading() as connection:
            found = connection.execute(query).one_or_none()
        return _run(found) if found else None

    def looks(self, champion: str) -> int:
        """How many exams this champion has sat."""
        sat = (TRAINING_RUNS.c.parent_version == champion, TRAINING_RUNS.c.exam.is_not(None))
        with self._database.reading() as connection:
            return connection.execute(sa.select(sa.func.count()).where(*sat)).scalar_one()

    def requested_with(self, idempotency_key: str) -> Run | None:
        """The run that was requested with this key, or None."""
        with self._database.reading() as connection:
            return _by_key(connection, idempotency_key)

    def is_any_active(self) -> bool:
        """Whether a run is requested or running."""
        query = sa.select(TRAINING_RUNS.c.id).where(TRAINING_RUNS.c.state.in_(("requested", "running"))).limit(1)
        with self._database.reading() as connection:
            return connection.execute(query).one_or_none() is not None

    def newest(self, limit: int) -> list[Run]:
        """The last runs, newest first."""
        query = sa.select(*COLUMNS).order_by(TRAINING_RUNS.c.id.desc()).limit(limit)
        with self._database.reading() as connection:
            return [_run(row) for row in connection.execute(query)]

    def totals(self) -> dict[tuple[str, str | None], int]:
        """How many runs there are by state and verdict."""
        state, verdict = TRAINING_RUNS.c.state, TRAINING_RUNS.c.verdict
        query = sa.select(state, verdict, sa.func.count()).group_by(state, verdict)
        with self._database.reading() as connection:
            return {(row[0], row[1]): row[2] for row in connection.execute(query)}

    def _get(self, connection: sa.Connection, run_id: int) -> Run:
        found = connection.execute(sa.select(*COLUMNS).where(TRAINING_RUNS.c.id == run_id)).one_or_none()
        if found is None:
            raise RunNotFound(f"no training run {run_id}; GET /retrain lists them")
        return _run(found)

    def _update_owned(self, run: Run, owner: str, **values: str | float | None) -> None:
        owned = sa.and_(
            TRAINING_RUNS.c.id == run.id,
            TRAINING_RUNS.c.state == "running",
            TRAINING_RUNS.c.owner == owner,
            TRAINING_RUNS.c.attempts == run.attempts,
        )
        with self._database.writing() as connection:
            changed = connection.execute(sa.update(TRAINING_RUNS).where(owned).values(**values)).rowcount
        if not changed:
            raise LeaseLost(f"run {run.id} was taken over by another trainer")


def _update(connection: sa.Connection, run_id: int, **values: Any) -> None:  # columns of several types
    connection.execute(sa.update(TRAINING_RUNS).where(TRAINING_RUNS.c.id == run_id).values(**values))


def _by_key(connection: sa.Connection, idempotency_key: str) -> Run | None:
    query = sa.select(*COLUMNS).where(TRAINING_RUNS.c.idempotency_key == idempotency_key)
    found = connection.execute(query).one_or_none()
    return _run(found) if found else None


def _after(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


def _run(row: sa.Row[Any]) -> Run:
    exam = Exam.model_validate_json(row.exam) if row.exam else None
    return Run(**{**row._mapping, "metrics": json.loads(row.metrics), "exam": exam})
