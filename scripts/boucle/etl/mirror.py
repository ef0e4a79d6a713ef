"""The warehouse's tables in PostgreSQL, for everybody who asks there: all as one run left them, never a part."""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path

import duckdb
import psycopg
import sqlalchemy as sa
from psycopg import sql

from boucle.errors import InvalidProject, InvalidSource, NotLoaded, SourceAway
from boucle.etl import parquet
from boucle.etl.transformations import literal, quoted

SCHEMA = "warehouse"
# A table of PostgreSQL has no order of its own.
ORDER = "_order"
LOCK = 20262
CONNECT_SECONDS = 5
CHUNK_BYTES = 1 << 20
NAME_BYTES = 63
# DuckDB allocates many times the longest line that it is told of.
USUAL_LINE_BYTES = 1 << 21
TYPES = {
    "BIGINT": "bigint",
    "BOOLEAN": "boolean",
    "DATE": "date",
    "DOUBLE": "double precision",
    "FLOAT": "real",
    "HUGEINT": "numeric",
    "INTEGER": "integer",
    "SMALLINT": "smallint",
    "TIMESTAMP": "timestamp",
    "TIMESTAMP WITH TIME ZONE": "timestamptz",
}


def address(url: str) -> str:
    """What psycopg connects to, for SQLAlchemy's ``url``.

    Raises:
        InvalidProject: when it names no PostgreSQL database.
    """
    if not url.startswith("postgresql"):
        raise InvalidProject('etl.warehouse = "postgresql": BOUCLE_DATABASE_URL must name a PostgreSQL database')
    return sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def mirror(
    connection: duckdb.DuckDBPyConnection, url: str, tables: Sequence[str], aside: Path, report: Callable[[str], None]
) -> None:
    """Write the tables anew into the schema `warehouse`, all in one transaction.

    Raises:
        NotLoaded: when the database is away, or refuses; its tables are then as they were.
    """
    try:
        with _connect(url) as database:
            database.execute(sql.SQL("SELECT pg_advisory_xact_lock({})").format(LOCK))
            database.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(SCHEMA)))
            told = [f"{SCHEMA}.{table}: {_copy(connection, database, table, aside):,} rows" for table in tables]
            # After all copies: whoever reads a table waits from here on, and only for moments.
            for table in tables:
                database.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(_name(table)))
                new, name = sql.Identifier(SCHEMA, f"{table}__new"), sql.Identifier(table)
                database.execute(sql.SQL("ALTER TABLE {} RENAME TO {}").format(new, name))
    except psycopg.Error as error:
        raise NotLoaded(
            f"PostgreSQL: {_reason(error)}; its tables are as they were, the next run writes them"
        ) from error
    for line in told:
        report(f"{line} in PostgreSQL")


def export(url: str, table: str, path: Path, memory: str) -> None:
    """Write a table as Parquet, as `warehouse.export` does: the same rows, types, order and bytes.

    Raises:
        InvalidSource: when there is no such table, or it holds other values than a run has written.
        SourceAway: when the database is away, or refuses.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    csv = path.with_name(f".{path.name}.{os.getpid()}.csv")
    try:
        with _connect(url) as database:
            columns = _columns(database, table)
            longest = _spool(database, table, columns, csv)
        with closing(duckdb.connect()) as connection:
            connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
            parquet.write(connection, _typed(csv, columns, longest), path, memory)
    except psycopg.Error as error:
        raise SourceAway(f'data.source = "warehouse:{table}": PostgreSQL: {_reason(error)}') from error
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise InvalidSource(f'data.source = "warehouse:{table}": {SCHEMA}.{table} cannot be read ({reason})') from error
    finally:
        csv.unlink(missing_ok=True)


def _connect(url: str) -> psycopg.Connection:
    database = psycopg.connect(address(url), connect_timeout=CONNECT_SECONDS, client_encoding="UTF8")
    # Texts of values are written and read on both sides: a server may be set to write them otherwise, and rounded.
    database.execute("SET datestyle = 'ISO, YMD'; SET timezone = 'UTC'; SET extra_float_digits = 1")
    return database


def _copy(connection: duckdb.DuckDBPyConnection, database: psycopg.Connection, table: str, aside: Path) -> int:
    described = connection.execute(f"DESCRIBE {quoted(table)}").fetchall()
    types = {str(name): str(kind) for name, kind, *_ in described}
    _create(database, table, types)
    path = aside / f"{table}.csv"
    names = sql.SQL(", ").join(map(sql.Identifier, types))
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv, NULL '')").format(_name(f"{table}__new"), names)
    try:
        # Through a file, which both sides read and write in C: rows as Python objects would cost many times more.
        connection.execute(
            f"COPY {quoted(table)} TO {literal(path)} (FORMAT csv, HEADER false, NULLSTR '', FORCE_QUOTE *)"
        )
        with path.open("rb") as file, database.cursor() as cursor:
            with cursor.copy(statement) as copy:
                while chunk := file.read(CHUNK_BYTES):
                    copy.write(chunk)
            return cursor.rowcount
    finally:
        path.unlink(missing_ok=True)


def _create(database: psycopg.Connection, table: str, types: dict[str, str]) -> None:
    """Make the table aside; each column remembers its type in DuckDB, and each row where it stood."""
    long = [name for name in types if len(name.encode()) > NAME_BYTES]
    if long:
        raise NotLoaded(
            f"PostgreSQL: {table} has a column {long[0]!r}, longer than the {NAME_BYTES} bytes of a name there"
        )
    new = _name(f"{table}__new")
    columns = [sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(_type(kind))) for name, kind in types.items()]
    columns.append(sql.SQL("{} bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY").format(sql.Identifier(ORDER)))
    database.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(new))
    database.execute(sql.SQL("CREATE TABLE {} ({})").format(new, sql.SQL(", ").join(columns)))
    for name, kind in types.items():
        column = sql.SQL("{}.{}").format(new, sql.Identifier(name))
        database.execute(sql.SQL("COMMENT ON COLUMN {} IS {}").format(column, kind))


def _columns(database: psycopg.Connection, table: str) -> dict[str, str]:
    """The table's own columns with their types in DuckDB; it then stays until the transaction ends."""
    found = database.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s ORDER BY 1", [SCHEMA]).fetchall()
    tables = [name for (name,) in found]
    if not tables:
        raise InvalidSource(f'data.source = "warehouse:{table}": PostgreSQL has no schema {SCHEMA} yet; run make etl')
    if table not in tables:
        raise InvalidSource(
            f'data.source = "warehouse:{table}": no such table in PostgreSQL; there are {", ".join(tables)}'
        )
    database.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(_name(table)))
    rows = database.execute(
        """SELECT attname, col_description(attrelid, attnum) FROM pg_attribute
           WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum""",
        [_name(table).as_string(database)],
    ).fetchall()
    types = {name: kind for name, kind in rows if not name.startswith("_")}
    if ORDER not in dict(rows) or not all(types.values()):
        raise InvalidSource(
            f'data.source = "warehouse:{table}": {SCHEMA}.{table} is not as this version writes it; run make etl'
        )
    return types


def _spool(database: psycopg.Connection, table: str, columns: Iterable[str], path: Path) -> int:
    """Write the rows in their order as CSV, and return how long the longest is."""
    longest = 0
    # The order too: a line of one column that is NULL would be an empty one, which is no row.
    names = sql.SQL(", ").join(map(sql.Identifier, (ORDER, *columns)))
    statement = sql.SQL("COPY (SELECT {} FROM {} ORDER BY {}) TO STDOUT (FORMAT csv, FORCE_QUOTE *, NULL '')").format(
        names, _name(table), sql.Identifier(ORDER)
    )
    with path.open("wb") as file, database.cursor() as cursor, cursor.copy(statement) as copy:
        for row in copy:
            longest = max(longest, len(row))
            file.write(row)
    return longest


def _typed(path: Path, columns: dict[str, str], longest: int) -> str:
    """A SELECT of what `_spool` wrote, in DuckDB's types."""
    texts = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in (ORDER, *columns))
    values = ", ".join(f"CAST({quoted(name)} AS {kind}) AS {quoted(name)}" for name, kind in columns.items())
    return f"""SELECT {values} FROM read_csv(
        {literal(path)}, columns = {{{texts}}}, auto_detect = false, header = false, delim = ',', quote = '"',
        escape = '"', nullstr = '', allow_quoted_nulls = false, max_line_size = {max(longest, USUAL_LINE_BYTES)})"""


def _type(kind: str) -> str:
    return "numeric" if kind.startswith("DECIMAL") else TYPES.get(kind, "text")


def _name(table: str) -> sql.Identifier:
    return sql.Identifier(SCHEMA, table)


def _reason(error: psycopg.Error) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
