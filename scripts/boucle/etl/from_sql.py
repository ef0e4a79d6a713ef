"""Rows of a query, from where its cursor was left."""

from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from boucle.errors import InvalidSource, SourceAway
from boucle.etl.ingestion import SqlSource
from boucle.etl.taking import Desk, Position, Spool, Takings, Wanted

BATCH_ROWS = 100_000
FETCHED = 1_000


def take(source: SqlSource, wanted: Wanted, desk: Desk) -> Takings:
    """What the query gives from the cursor's last value on; without a cursor, all that it gives.

    Raises:
        SourceAway: when the database does not answer, or refuses the query.
    """
    url = desk.environment.get(source.url_env)
    if not url:
        raise InvalidSource(f"source {source.name}: the environment has no {source.url_env}, the database's URL")
    if (wanted.since or wanted.until) and not source.cursor:
        raise InvalidSource(f"source {source.name} has no cursor: --since and --until have nothing to compare")
    position = {"since": wanted.since, "skip": 0} | (desk.position(wanted.lane) if source.cursor else {})
    try:
        engine = sa.create_engine(url)
        statement, values = _statement(source, engine, position, wanted)
        with engine.connect().execution_options(stream_results=True) as connection:
            yield from _takings(source, connection.execute(statement, values), position, wanted, desk)
    except ImportError as error:
        raise InvalidSource(f"source {source.name}: the driver of its database is not installed ({error})") from error
    except SQLAlchemyError as error:
        # Its message shows statement and values below the first line; the URL, with its password, never.
        raise SourceAway(f"source {source.name}: {str(error).splitlines()[0]}") from error


def _takings(
    source: SqlSource, result: sa.CursorResult[Any], position: Position, wanted: Wanted, desk: Desk
) -> Takings:
    taken, left, spool = (0, 0), int(position["skip"]), Spool(desk, f"query of {source.name}", wanted.lane)
    since, at = str(position["since"]), int(position["skip"])
    try:
        for row in result.yield_per(FETCHED).mappings():
            value = str(row[source.cursor]) if source.cursor else ""
            if left and value == since:
                left -= 1
                continue
            left = 0
            if not spool.add(dict(row), wanted, taken):
                if spool.rows:
                    yield spool.taking({"since": since, "skip": at})
                return
            since, at = value, at + 1 if value == since else 1
            if spool.rows >= BATCH_ROWS:
                taken = (taken[0] + spool.rows, taken[1] + spool.bytes)
                yield spool.taking({"since": since, "skip": at})
                spool.close()
                spool = Spool(desk, spool.origin, wanted.lane)
        if spool.rows:
            # Rows as new as the newest may come later: they are asked for again, and the key tells which are known.
            yield spool.taking({"since": since, "skip": 0})
    finally:
        spool.close()


def _statement(
    source: SqlSource, engine: sa.Engine, position: Position, wanted: Wanted
) -> tuple[sa.TextClause, dict[str, Any]]:
    if not source.cursor:
        return sa.text(source.query), {}
    column = engine.dialect.identifier_preparer.quote(source.cursor)
    conditions = {f"{column} >= :since": position["since"], f"{column} < :until": wanted.until}
    where = " AND ".join(condition for condition, value in conditions.items() if value)
    query = f"SELECT * FROM ({source.query.strip().rstrip(';')}) AS asked"
    values = {"since": position["since"], "until": wanted.until}
    given = {name: _value(source, str(value)) for name, value in values.items() if value}
    return sa.text(f"{query}{f' WHERE {where}' if where else ''} ORDER BY {column}"), given


def _value(source: SqlSource, text: str) -> object:
    """The cursor's value as the database compares it."""
    column = source.column(source.cursor)
    try:
        match column.type if column else "text":
            case "integer":
                return int(text)
            case "number":
                return float(text)
            case "date":
                return date.fromisoformat(text[:10])
            case "timestamp":
                return datetime.fromisoformat(text)
            case _:
                return text
    except ValueError as error:
        raise InvalidSource(f"source {source.name}: {text!r} is no {column.type if column else 'text'}") from error
