"""Typed rows in DuckDB: one table a source, the rows that broke a contract, and the ledger of what was loaded.

The warehouse is what the lake and the contracts say: deleted, it is built again.
"""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from boucle.errors import InvalidSource, WarehouseBusy
from boucle.etl import parquet
from boucle.etl import transformations as steps
from boucle.etl.batch import Batch
from boucle.etl.ingestion import DerivedTable
from boucle.etl.transformations import AnySource, literal, quoted

FILE, LOCK = "warehouse.duckdb", "warehouse.lock"
# How long a reader waits for a load: it cannot open the file beside a writer.
READER_SECONDS = 60.0
POLL_SECONDS = 0.2

LEDGER = """
CREATE TABLE IF NOT EXISTS etl_batches (
    batch VARCHAR PRIMARY KEY, source VARCHAR NOT NULL, number BIGINT NOT NULL, origin VARCHAR NOT NULL,
    taken_at VARCHAR NOT NULL, path VARCHAR NOT NULL, sha256 VARCHAR NOT NULL, bytes BIGINT NOT NULL,
    loaded_at VARCHAR NOT NULL,
    rows BIGINT NOT NULL, loaded BIGINT NOT NULL, quarantined BIGINT NOT NULL, superseded BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS etl_positions (
    source VARCHAR NOT NULL, lane VARCHAR NOT NULL, position VARCHAR NOT NULL, PRIMARY KEY (source, lane));
CREATE TABLE IF NOT EXISTS etl_contracts (source VARCHAR PRIMARY KEY, digest VARCHAR NOT NULL);
CREATE TABLE IF NOT EXISTS quarantine (
    source VARCHAR NOT NULL, batch VARCHAR NOT NULL, "row" BIGINT NOT NULL, reason VARCHAR NOT NULL,
    record VARCHAR NOT NULL, quarantined_at VARCHAR NOT NULL);
"""


@dataclass(frozen=True)
class Loaded:
    """What became of a batch's rows: ``superseded`` ones were loaded, or older, and another has their key now."""

    batch: Batch
    loaded: int
    quarantined: int
    superseded: int


class Warehouse:
    """An open warehouse; `opened` gives one."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        connection.execute(LEDGER)

    def known(self, source: str) -> set[str]:
        """The identifiers of the batches that were loaded."""
        return {row[0] for row in self._rows("SELECT batch FROM etl_batches WHERE source = ?", source)}

    def next_number(self, source: str) -> int:
        """The number of the next batch."""
        return int(self._rows("SELECT coalesce(max(number), 0) + 1 FROM etl_batches WHERE source = ?", source)[0][0])

    def position(self, source: str, lane: str) -> dict[str, Any]:
        """Where the lane is to be resumed; empty at its beginning."""
        found = self._rows("SELECT position FROM etl_positions WHERE source = ? AND lane = ?", source, lane)
        return dict(json.loads(found[0][0])) if found else {}

    def move(self, source: str, lane: str, position: dict[str, Any]) -> None:
        """Resume the lane at ``position`` from now on."""
        values = [source, lane, json.dumps(position)]
        self.connection.execute("INSERT OR REPLACE INTO etl_positions VALUES (?, ?, ?)", values)

    def is_outdated(self, source: AnySource) -> bool:
        """Whether the source's table was loaded under another contract."""
        found = self._rows("SELECT digest FROM etl_contracts WHERE source = ?", source.name)
        return bool(found) and found[0][0] != _digest(source)

    def check(self, source: AnySource, path: Path, columns: Sequence[str], may_lack: bool) -> list[str]:
        """The columns that the contract does not know.

        Raises:
            SchemaChanged: when the file has not the columns or the types of the contract.
        """
        new = steps.check_columns(source, columns, may_lack)
        counts = self.connection.execute(steps.type_counts(source, path, columns)).fetchone()
        steps.check_types(source, columns, counts or ())
        return new

    def load(self, source: AnySource, batches: Sequence[Batch], afresh: bool = False) -> list[Loaded]:
        """Load the batches in their order, all or none; ``afresh`` forgets first what was loaded of the source."""
        with self._transaction():
            if afresh:
                self._forget(source.name)
            columns = ", ".join(f"{quoted(column.name)} {steps.TYPES[column.type]}" for column in source.columns)
            self.connection.execute(
                f"CREATE TABLE IF NOT EXISTS {quoted(source.name)} ({columns}, _batch VARCHAR, _row BIGINT)"
            )
            self.connection.execute(
                "INSERT OR REPLACE INTO etl_contracts VALUES (?, ?)", [source.name, _digest(source)]
            )
            return [self._load(source, batch) for batch in batches]

    def derive(self, table: DerivedTable, query: str) -> int:
        """Make the table afresh of what ``query``, a SELECT, gives; returns its number of rows.

        Raises:
            InvalidSource: when the query cannot be carried out.
        """
        try:
            with self._transaction():
                self.connection.execute(
                    f"CREATE OR REPLACE TABLE {quoted(table.name)} AS ({query.strip().rstrip(';')})"
                )
        except duckdb.Error as error:
            raise InvalidSource(f"{table.query}: {str(error).splitlines()[0]}; the table stays as it was") from error
        return int(self._rows(f"SELECT count(*) FROM {quoted(table.name)}")[0][0])

    def newest(self, source: AnySource) -> datetime | None:
        """The greatest value of the cursor, if it is a time."""
        column = source.column(source.cursor)
        if column is None or column.type not in ("date", "timestamp"):
            return None
        query = f"SELECT max({quoted(column.name)})::TIMESTAMP FROM {quoted(source.name)}"
        found = self._rows(query)[0][0]
        return None if found is None else found.replace(tzinfo=UTC)

    def tables(self) -> list[str]:
        """The names of all tables but the positions and contracts, which only a load needs."""
        found = self._rows(
            "SELECT table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE' ORDER BY ALL"
        )
        return [name for (name,) in found if name not in ("etl_positions", "etl_contracts")]

    def totals(self) -> dict[str, dict[str, int]]:
        """By source: batches, and rows by what became of them."""
        query = """SELECT source, count(*), sum(loaded), sum(quarantined), sum(superseded)
                   FROM etl_batches GROUP BY source ORDER BY source"""
        return {
            source: {"batches": int(batches), "loaded": int(loaded), "quarantined": int(bad), "superseded": int(old)}
            for source, batches, loaded, bad, old in self._rows(query)
        }

    def _load(self, source: AnySource, batch: Batch) -> Loaded:
        execute, table, now = self.connection.execute, quoted(source.name), _now()
        told = batch.provenance
        execute(f"CREATE OR REPLACE TEMP TABLE judged AS {steps.judged(source, batch.path, batch.columns)}")
        execute(
            f"""INSERT INTO quarantine
                SELECT ?, ?, _row, _reason, raw.record, ? FROM judged
                JOIN (SELECT file_row_number, to_json(struct_pack({_fields(batch.columns)}))::VARCHAR AS record
                      FROM read_parquet({literal(batch.path)}, file_row_number = true, hive_partitioning = false)
                     ) AS raw ON file_row_number = _row WHERE _reason <> '' ORDER BY _row""",
            [told.source, told.batch, now],
        )
        right = steps.latest(source.key, "judged")
        replaced = self._delete_older(source, right)
        names = ", ".join(quoted(column.name) for column in source.columns)
        # No ORDER BY: a scan keeps the order, and a sort of ten million rows would not fit into memory.
        execute(f"INSERT INTO {table} SELECT {names}, ?, _row FROM judged WHERE {right}", [told.batch])
        bad, good, last = self._rows(
            f"""SELECT count(*) FILTER (_reason <> ''), count(*) FILTER (_reason = ''), count(*) FILTER ({right})
                FROM judged"""
        )[0]
        outcome = Loaded(batch, last, bad, good - last + replaced)
        self._enter(outcome, now)
        execute("DROP TABLE judged")
        return outcome

    def _delete_older(self, source: AnySource, right: str) -> int:
        if not source.key:
            return 0
        table = quoted(source.name)
        same = " AND ".join(f"{table}.{quoted(name)} = newer.{quoted(name)}" for name in source.key)
        deleted = self.connection.execute(
            f"DELETE FROM {table} USING (SELECT * FROM judged WHERE {right}) AS newer WHERE {same}"
        ).fetchone()
        return int(deleted[0]) if deleted else 0

    def _enter(self, outcome: Loaded, now: str) -> None:
        told = outcome.batch.provenance
        self.connection.execute(
            "INSERT INTO etl_batches VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                *(told.batch, told.source, told.number, told.origin, told.taken_at),
                *(str(outcome.batch.path), told.sha256, told.bytes, now),
                *(outcome.batch.rows, outcome.loaded, outcome.quarantined, outcome.superseded),
            ],
        )
        self.move(told.source, told.lane, told.position)

    def _forget(self, source: str) -> None:
        self.connection.execute(f"DROP TABLE IF EXISTS {quoted(source)}")
        for table in ("etl_batches", "etl_positions", "quarantine"):
            self.connection.execute(f"DELETE FROM {table} WHERE source = ?", [source])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self.connection.execute("BEGIN")
        try:
            yield
        except BaseException:
            # A transaction that failed inside the database is over by itself, or is not; both end here.
            self.connection.rollback()
            raise
        self.connection.execute("COMMIT")

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return self.connection.execute(query, list(values)).fetchall()


@contextmanager
def opened(data: Path, memory: str, wait_seconds: float, report: Callable[[str], None]) -> Iterator[Warehouse]:
    """The warehouse of the folder, for one process at a time.

    Raises:
        WarehouseBusy: when another one still holds it after ``wait_seconds``.
    """
    data.mkdir(parents=True, exist_ok=True)
    with (data / LOCK).open("a+") as lock:
        _lock(lock.fileno(), data, wait_seconds, report)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        with _connect(data / FILE, READER_SECONDS, read_only=False) as connection:
            spill = literal(data / "lake" / ".aside" / "spill")
            connection.execute(f"SET memory_limit = {literal(memory)}; SET temp_directory = {spill}")
            connection.execute("SET TimeZone = 'UTC'")
            yield Warehouse(connection)


def export(data: Path, table: str, path: Path, memory: str) -> None:
    """Write a table of the warehouse as Parquet, whole or not at all, without the columns that Boucle adds.

    The same rows give the same bytes.

    Raises:
        InvalidSource: when there is no such table.
    """
    if not (data / FILE).is_file():
        raise InvalidSource(f'data.source = "warehouse:{table}": there is no warehouse yet; run make etl')
    path.parent.mkdir(parents=True, exist_ok=True)
    with _connect(data / FILE, READER_SECONDS, read_only=True) as connection:
        found = connection.execute("SELECT table_name FROM information_schema.tables ORDER BY ALL").fetchall()
        if table not in {name for (name,) in found}:
            tables = ", ".join(name for (name,) in found)
            raise InvalidSource(f'data.source = "warehouse:{table}": no such table; there are {tables}')
        parquet.write(connection, f"SELECT COLUMNS('^[^_]') FROM {quoted(table)}", path, memory)


def _lock(descriptor: int, data: Path, wait_seconds: float, report: Callable[[str], None]) -> None:
    deadline, has_told = time.monotonic() + wait_seconds, False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = (data / LOCK).read_text() or "unknown"
            if time.monotonic() >= deadline:
                raise WarehouseBusy(
                    f"another load (process {holder}) holds {data / FILE}; nothing was done: try again later"
                ) from None
            if not has_told:
                report(f"another load (process {holder}) is under way: waiting for it, {wait_seconds:g} s at most")
            has_told = True
            time.sleep(POLL_SECONDS)
        else:
            return


def _connect(path: Path, seconds: float, read_only: bool) -> duckdb.DuckDBPyConnection:
    """A connection, as soon as no process has one that excludes it."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            connection = duckdb.connect(path, read_only=read_only)
            # It would be drawn into the output of --json.
            connection.execute("SET enable_progress_bar = false")
        except duckdb.IOException as error:
            if "lock" not in str(error):
                raise
            if time.monotonic() >= deadline:
                raise WarehouseBusy(f"{path} is held by another process: {str(error).splitlines()[0]}") from error
            time.sleep(POLL_SECONDS)
        else:
            return connection


def _fields(columns: Sequence[str]) -> str:
    return ", ".join(f"{quoted(name)} := {quoted(name)}" for name in columns)


def _digest(source: AnySource) -> str:
    contract = source.model_dump_json(include={"columns", "key", "missing_values"})
    return hashlib.sha256(contract.encode()).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
