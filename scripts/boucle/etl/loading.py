"""Sources to lake to warehouse: what is new is taken, kept as it came, judged by its contract, and loaded."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from boucle.errors import BoucleError, InvalidProject, NotLoaded
from boucle.etl import from_files, from_http, from_sql, mirror
from boucle.etl.batch import Provenance
from boucle.etl.ingestion import EtlSection, FilesSource, HttpSource
from boucle.etl.lake import Lake
from boucle.etl.status import SourceStatus, last_loads, write_loads
from boucle.etl.taking import Desk, Taking, Wanted, unreadable
from boucle.etl.transformations import AnySource
from boucle.etl.warehouse import Loaded, Warehouse, opened

Report = Callable[[str], None]


@dataclass
class Outcome:
    """What a run did with one source; ``error`` says why it ended early."""

    source: str
    batches: int = 0
    rows: int = 0
    loaded: int = 0
    quarantined: int = 0
    superseded: int = 0
    newest_at: datetime | None = None
    is_stale: bool = False
    is_derived: bool = False
    error: str | None = None

    def add(self, done: Loaded) -> None:
        """Count a batch."""
        self.batches += 1
        self.rows += done.batch.rows
        self.loaded += done.loaded
        self.quarantined += done.quarantined
        self.superseded += done.superseded


def run(
    project: EtlSection,
    data: Path,
    wanted: Wanted,
    names: Sequence[str],
    environment: Mapping[str, str],
    wait_seconds: float,
    report: Report,
    database: str = "",
) -> list[Outcome]:
    """Load what is new of the sources called ``names``, or of all; then make the derived tables afresh.

    A source that fails does not hold up the others; its outcome says why. Each batch is loaded whole or not at all.
    With ``warehouse = "postgresql"`` the tables are then written into ``database``, a SQLAlchemy URL, too.

    Raises:
        WarehouseBusy: when another run goes on for too long.
        InvalidProject: when there is no such source.
    """
    sources = chosen(project, names)
    if project.warehouse == "postgresql":
        mirror.address(database)
    try:
        with opened(data, project.memory, wait_seconds, report) as warehouse:
            lake = Lake(data / "lake", warehouse.connection)
            outcomes = []
            for source in sources:
                desk = _desk(source, lake, warehouse, environment, report)
                outcomes.append(_load(source, wanted, desk, lake, warehouse))
            outcomes += _derive(project, warehouse, report)
            with _noted(outcomes, data, warehouse):
                if project.warehouse == "postgresql":
                    mirror.mirror(warehouse.connection, database, warehouse.tables(), lake.clear_aside(), report)
    except (OSError, duckdb.Error) as error:
        # The disk is full, or the file is damaged: what was committed stays.
        raise NotLoaded(f"{data}: {str(error).splitlines()[0]}; the next run goes on from what was loaded") from error
    return outcomes


def chosen(project: EtlSection, names: Sequence[str]) -> list[AnySource]:
    """The sources of these names, or all.

    Raises:
        InvalidProject: when there is none, or no such one.
    """
    there = {source.name: source for source in project.sources}
    unknown = [name for name in names if name not in there]
    if unknown or not there:
        told = f"no source {unknown[0]}; there are {', '.join(there) or 'none'}" if unknown else "no source"
        raise InvalidProject(f"project.toml declares {told}; docs/etl.md shows how to declare one")
    return [there[name] for name in names] if names else list(there.values())


def _load(source: AnySource, wanted: Wanted, desk: Desk, lake: Lake, warehouse: Warehouse) -> Outcome:
    outcome = Outcome(source.name)
    try:
        if not source.columns:
            raise InvalidProject(f"source {source.name} has no columns: boucle etl --infer --source {source.name}")
        _catch_up(source, lake, warehouse, desk.report)
        takings = take(source, wanted, desk)
        with closing(takings):
            for taking in takings:
                _load_one(source, taking, lake, warehouse, outcome, desk.report)
    except BoucleError as error:
        outcome.error = str(error)
    except (OSError, duckdb.Error) as error:
        # The disk is full, or the memory: what was committed stays, and the next run goes on from there.
        outcome.error = f"source {source.name}: {str(error).splitlines()[0]}; nothing of this batch was loaded"
    if outcome.error:
        desk.report(outcome.error)
    elif not outcome.batches:
        desk.report("nothing new")
    _judge_age(source, outcome, warehouse, desk.report)
    return outcome


def take(source: AnySource, wanted: Wanted, desk: Desk) -> Any:  # a generator, which can be closed
    """What the source gives."""
    if isinstance(source, FilesSource):
        return from_files.take(source, wanted, desk)
    if isinstance(source, HttpSource):
        return from_http.take(source, wanted, desk)
    return from_sql.take(source, wanted, desk)


def _load_one(
    source: AnySource, taking: Taking, lake: Lake, warehouse: Warehouse, outcome: Outcome, report: Report
) -> None:
    provenance = _provenance(source, taking, warehouse)
    if provenance.batch in warehouse.known(source.name):
        # The position moves all the same: a page that repeats an older one must not be met again for ever.
        warehouse.move(source.name, taking.lane, taking.position)
        report(f"{taking.origin}: the same rows as before")
        return

    def check(path: Path, columns: tuple[str, ...]) -> None:
        new = warehouse.check(source, path, columns, taking.may_lack)
        if new:
            report(f"{taking.origin}: not in the contract, left in the lake: {', '.join(new)}")

    try:
        batch = lake.land(taking.select, provenance, check)
    except (duckdb.IOException, duckdb.OutOfMemoryException):
        raise
    except duckdb.Error as error:
        raise unreadable(source.name, taking.origin, error) from error
    done = warehouse.load(source, [batch])[0]
    outcome.add(done)
    report(_told(done))


def _catch_up(source: AnySource, lake: Lake, warehouse: Warehouse, report: Report) -> None:
    """Load what is in the lake and not in the warehouse: a run died in between, or the contract is another one."""
    is_outdated = warehouse.is_outdated(source)
    batches = lake.batches(source.name, set() if is_outdated else warehouse.known(source.name))
    if not batches:
        return
    why = "the contract has changed" if is_outdated else "not in the warehouse yet"
    report(f"{len(batches)} batches of the lake are loaded: {why}")
    for batch in batches:
        warehouse.check(source, batch.path, batch.columns, may_lack=True)
    for done in warehouse.load(source, batches, afresh=is_outdated):
        report(_told(done))


def _provenance(source: AnySource, taking: Taking, warehouse: Warehouse) -> Provenance:
    content = f"{source.name}\n{taking.lane}\n{taking.sha256}"
    return Provenance(
        source=source.name,
        number=warehouse.next_number(source.name),
        batch=hashlib.sha256(content.encode()).hexdigest()[:16],
        origin=taking.origin,
        taken_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        sha256=taking.sha256,
        bytes=taking.bytes,
        lane=taking.lane,
        position=taking.position,
    )


def _judge_age(source: AnySource, outcome: Outcome, warehouse: Warehouse, report: Report) -> None:
    if not warehouse.known(source.name):
        return
    outcome.newest_at = warehouse.newest(source)
    if source.max_age_hours is None or outcome.newest_at is None:
        return
    # A clock that was set back makes the newest row one of the future: it is not stale.
    hours = (datetime.now(UTC) - outcome.newest_at).total_seconds() / 3_600
    outcome.is_stale = hours > source.max_age_hours
    if outcome.is_stale:
        report(f"stale: the newest row is {hours:,.0f} h old, allowed are {source.max_age_hours:g} h")


def _derive(project: EtlSection, warehouse: Warehouse, report: Report) -> Iterator[Outcome]:
    for table in project.tables:
        outcome = Outcome(table.name, is_derived=True)
        try:
            outcome.rows = outcome.loaded = warehouse.derive(table, Path(table.query).read_text(encoding="utf-8"))
            report(f"{table.name}: {outcome.rows:,} rows made by {table.query}")
        except (BoucleError, OSError) as error:
            outcome.error = f"table {table.name}: {error}"
            report(outcome.error)
        yield outcome


@contextmanager
def _noted(outcomes: Sequence[Outcome], data: Path, warehouse: Warehouse) -> Iterator[None]:
    """Write the status after the block; when that fails, no source was loaded as the project wants it."""
    try:
        yield
    except NotLoaded as error:
        for outcome in outcomes:
            outcome.error = outcome.error or str(error)
        raise
    finally:
        _write_status(data, warehouse, outcomes)


def _write_status(data: Path, warehouse: Warehouse, outcomes: Sequence[Outcome]) -> None:
    now, before = datetime.now(UTC), last_loads(data)
    told, totals = {outcome.source: outcome for outcome in outcomes}, warehouse.totals()
    status = {}
    # A source that never gave a row has no totals, and may have failed all the same.
    for name in dict.fromkeys([*totals, *(outcome.source for outcome in outcomes if not outcome.is_derived)]):
        last = before.get(name, SourceStatus())
        if name in told:
            outcome = told[name]
            last = SourceStatus(
                newest_at=outcome.newest_at,
                is_stale=outcome.is_stale,
                succeeded_at=last.succeeded_at if outcome.error else now,
                error=outcome.error,
            )
        status[name] = last.model_copy(update=totals.get(name, {}))
    write_loads(data, status, now)


def _desk(source: AnySource, lake: Lake, warehouse: Warehouse, environment: Mapping[str, str], report: Report) -> Desk:
    return Desk(
        lake.clear_aside(),
        warehouse.connection,
        lambda lane: warehouse.position(source.name, lane),
        environment,
        lambda message: report(f"{source.name}: {message}"),
    )


def _told(done: Loaded) -> str:
    rows = f"{done.batch.rows:,} rows of {done.batch.provenance.origin}: {done.loaded:,} loaded"
    bad = f", {done.quarantined:,} in quarantine" if done.quarantined else ""
    return f"{rows}{bad}{f', {done.superseded:,} superseded' if done.superseded else ''}"
