"""The tables, and the two ways to use them: read, or write alone."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from sqlite3 import SQLITE_BUSY, OperationalError
from sqlite3 import Connection as SQLiteConnection
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.pool import ConnectionPoolEntry

LOCK_SECONDS = 30
CHECKPOINT_PAGES = 1_000  # SQLite's own number, of 4 kB each

# Nobody waits for minutes: neither for a server that is away, nor for a writer that hangs or whose machine is gone.
CONNECT_ARGUMENTS: dict[str, dict[str, Any]] = {  # each driver's own
    "sqlite": {"timeout": LOCK_SECONDS},
    "postgresql": {
        "connect_timeout": 5,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "tcp_user_timeout": 10_000,
        "options": f"-c lock_timeout={LOCK_SECONDS}s -c idle_in_transaction_session_timeout=60s",
    },
}

# How a transaction begins that no other writer runs beside; on PostgreSQL by a lock that only writers ask for.
BEGIN_ALONE = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "BEGIN; SELECT pg_advisory_xact_lock(20261)"}

METADATA = sa.MetaData()

# Many predictions in a row; a view named predictions shows them one by one.
PREDICTION_CHUNKS = sa.Table(
    "prediction_chunks",
    METADATA,
    sa.Column("first_id", sa.String(64), primary_key=True),
    sa.Column("last_id", sa.String(64), nullable=False, index=True),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("model_version", sa.String(32), nullable=False),
    sa.Column("arm", sa.String(32), nullable=False),
    sa.Column("columns", sa.Text, nullable=False),
    sa.Column("classes", sa.Text, nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    # Finds a version's oldest and newest predictions, and counts them, without reading any.
    sa.Index("ix_prediction_chunks_age", "model_version", "created_at", "rows"),
)

FEEDBACK = sa.Table(
    "feedback",
    METADATA,
    sa.Column("row", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("prediction_id", sa.String(64), nullable=False, unique=True),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("input", sa.Text, nullable=False),
    sa.Column("vector", sa.LargeBinary, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("prediction", sa.Text, nullable=False),
    sa.Column("model_version", sa.String(32)),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text),
    # Where the row's line ends in prod_data.csv: the next line begins there, however long the file is.
    sa.Column("line_end", sa.BigInteger, nullable=False),
    # CRC-32 of the file as far as there: it is compared with the table without being written again.
    sa.Column("checksum", sa.BigInteger, nullable=False, server_default="0"),
)

# One row: the embedding of the vectors in the table above, and the file that shows them.
PROJECTION = sa.Table(
    "projection",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("embedding_id", sa.String(64), nullable=False),
    sa.Column("header", sa.Text, nullable=False),
)

TRAINING_RUNS = sa.Table(
    "training_runs",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("trigger", sa.String(16), nullable=False),
    sa.Column("trigger_reason", sa.Text),
    sa.Column("strategy", sa.String(64)),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("idempotency_key", sa.String(255), unique=True),
    sa.Column("feedback_row", sa.Integer, unique=True),
    sa.Column("requested_at", sa.String(32), nullable=False),
    sa.Column("started_at", sa.String(32)),
    sa.Column("finished_at", sa.String(32)),
    sa.Column("parent_version", sa.String(32)),
    sa.Column("version", sa.String(32)),
    sa.Column("verdict", sa.String(32)),
    sa.Column("reason", sa.Text),
    sa.Column("metrics", sa.Text, nullable=False),
    sa.Column("mlflow_run_id", sa.String(64)),
    sa.Column("coalesced_into", sa.Integer),
    sa.Column("attempts", sa.Integer, nullable=False),
    # A host's name of up to 64 characters is part of it.
    sa.Column("owner", sa.String(255)),
    sa.Column("lease_until", sa.String(32)),
    sa.Column("exam", sa.Text),
    sa.Column("progress", sa.Text),
    sa.Column("progress_share", sa.Float),
)

# What the observer saw: the whole of it, and the few numbers that a history shows.
OBSERVATIONS = sa.Table(
    "observations",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("point", sa.Text, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
)


class Database:
    """One engine; any number of readers, one writer at a time."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self._writer = threading.Lock()

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection for statements that change nothing; it holds up no writer."""
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self, checkpoint_pages: int = CHECKPOINT_PAGES) -> Iterator[sa.Connection]:
        """A transaction that no other writer, of this process or another, runs beside.

        It is durable when this returns: committed and synced. SQLite then also moves what is in its write-ahead log
        into the database's file, which costs two more syncs, once there are ``checkpoint_pages``.
        """
        # Threads queue at a lock of their own: at SQLite's they would poll, and the unlucky one would time out.
        # They are connected by then: one after another they would wait many times for a server that is away.
        with self.engine.connect() as connection, self._writer, connection.begin():
            backend = connection.dialect.name
            if backend == "sqlite":
                connection.exec_driver_sql(f"PRAGMA wal_autocheckpoint = {checkpoint_pages}")
            connection.exec_driver_sql(BEGIN_ALONE[backend])
            yield connection


def connect(url: str) -> Database:
    """The database at a SQLAlchemy URL; nothing is asked of it yet."""
    backend = sa.make_url(url).get_backend_name()
    # The ping: a connection that the server's restart has cut is replaced before a request notices.
    # The drivers must not begin transactions by themselves: SQLite's would begin as readers, and fail to upgrade;
    # PostgreSQL's would ask for each in a round trip of its own.
    engine = sa.create_engine(
        url, connect_args=CONNECT_ARGUMENTS.get(backend, {}), pool_pre_ping=True, isolation_level="AUTOCOMMIT"
    )
    if backend == "sqlite":
        sa.event.listen(engine, "connect", _configure_sqlite)
    return Database(engine)


def insert_many(connection: sa.Connection, table: sa.Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert the rows, each with all of the table's columns.

    SQLite takes them as they are: SQLAlchemy would look at every value of every row for twice the time. psycopg would
    spell each by itself; PostgreSQL takes all rows as one JSON text for half of that.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(_insert_of_json(table), {"rows": orjson.dumps(rows, default=_bytea).decode()})
    else:
        connection.exec_driver_sql(_insert_by_name(table), rows)


@cache
def _insert_by_name(table: sa.Table) -> str:
    sqlite = import_module("sqlalchemy.dialects.sqlite")  # which a worker on PostgreSQL need not load
    return str(sa.insert(table).compile(dialect=sqlite.dialect(paramstyle="named")))


@cache
def _insert_of_json(table: sa.Table) -> sa.Insert:
    given = sa.func.json_to_recordset(sa.cast(sa.bindparam("rows", type_=sa.Text), sa.JSON))
    typed = given.table_valued(*(sa.column(column.name, column.type) for column in table.c))
    return sa.insert(table).from_select(table.c.keys(), sa.select(*typed.render_derived(with_types=True).c))


def _bytea(value: bytes) -> str:
    return rf"\x{value.hex()}"


def now() -> str:
    """The time in UTC as ISO 8601 text, which sorts as time does."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _configure_sqlite(connection: SQLiteConnection, _: ConnectionPoolEntry) -> None:
    _use_write_ahead_log(connection)
    # FULL syncs at every commit: an acknowledged feedback also survives the loss of power.
    connection.execute("PRAGMA synchronous = FULL")


def _use_write_ahead_log(connection: SQLiteConnection) -> None:
    # Of several processes that open a new file at once, SQLite lets one switch and fails the others without a wait.
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except OperationalError as error:
            if error.sqlite_errorcode != SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
