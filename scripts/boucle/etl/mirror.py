"""The warehouse's tables in PostgreSQL, for everybody who asks there: each as a whole, old or new, never a part."""

from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
import psycopg
import sqlalchemy as sa
from psycopg import sql

from boucle.errors import NotLoaded
from boucle.etl.transformations import literal, quoted

SCHEMA = "warehouse"
LOCK = 20262
CONNECT_SECONDS = 5
CHUNK_BYTES = 1 << 20
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


def mirror(
    connection: duckdb.DuckDBPyConnection, url: str, tables: Sequence[str], aside: Path, report: Callable[[str], None]
) -> None:
    """Write the tables anew into the schema `warehouse`, all in one transaction.

    Raises:
        NotLoaded: when the database is away, or refuses; its tables are then as they were.
    """
    address = sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        with psycopg.connect(address, connect_timeout=CONNECT_SECONDS) as database:
            database.execute(sql.SQL("SELECT pg_advisory_xact_lock({})").format(LOCK))
            database.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(SCHEMA)))
            for table in tables:
                rows = _copy(connection, database, table, aside)
                report(f"{SCHEMA}.{table}: {rows:,} rows in PostgreSQL")
    except psycopg.Error as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise NotLoaded(f"PostgreSQL: {reason}; its tables are as they were, the next run writes them") from error


def _copy(connection: duckdb.DuckDBPyConnection, database: psycopg.Connection, table: str, aside: Path) -> int:
    described = connection.execute(f"DESCRIBE {quoted(table)}").fetchall()
    path = aside / f"{table}.csv"
    # Through a file, which both sides read and write in C: rows as Python objects would cost many times more.
    connection.execute(f"COPY {quoted(table)} TO {literal(path)} (FORMAT csv, HEADER false, NULLSTR '', FORCE_QUOTE *)")
    new, old = sql.Identifier(SCHEMA, f"{table}__new"), sql.Identifier(SCHEMA, table)
    columns = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(_type(kind))) for name, kind, *_ in described
    )
    try:
        database.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(new))
        database.execute(sql.SQL("CREATE TABLE {} ({})").format(new, columns))
        statement = sql.SQL("COPY {} FROM STDIN (FORMAT csv, NULL '')").format(new)
        with path.open("rb") as file, database.cursor() as cursor:
            with cursor.copy(statement) as copy:
                while chunk := file.read(CHUNK_BYTES):
                    copy.write(chunk)
            rows = cursor.rowcount
    finally:
        path.unlink(missing_ok=True)
    database.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(old))
    database.execute(sql.SQL("ALTER TABLE {} RENAME TO {}").format(new, sql.Identifier(table)))
    return rows


def _type(kind: str) -> str:
    return "numeric" if kind.startswith("DECIMAL") else TYPES.get(kind, "text")
