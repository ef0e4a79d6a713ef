"""A first contract, from the rows themselves: to be read, corrected and pasted into project.toml."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import duckdb

from boucle.etl.ingestion import Column, EtlSection, Kind
from boucle.etl.loading import chosen, take
from boucle.etl.taking import Desk, Wanted, unreadable
from boucle.etl.transformations import AnySource, quoted, trimmed, typed

KINDS: tuple[Kind, ...] = ("integer", "number", "date", "timestamp")
MOST_CATEGORIES = 10
# Fewer rows a value than this, and the next rows bring other values.
ROWS_OF_A_CATEGORY = 10


@dataclass(frozen=True)
class _Seen:
    """What a column shows: rows, values, different values; how many values each kind can write."""

    rows: int
    values: int
    distinct: int
    fits: dict[Kind, int]
    booleans: int


def infer(project: EtlSection, wanted: Wanted, names: Sequence[str], environment: Mapping[str, str]) -> str:
    """The columns of the sources as project.toml writes them; nothing is kept, and no position moves."""
    return "\n\n".join(_infer(source, wanted, environment) for source in chosen(project, names))


def _infer(source: AnySource, wanted: Wanted, environment: Mapping[str, str]) -> str:
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        desk = Desk(Path(folder), connection, lambda _: {}, environment, lambda _: None)
        with closing(take(source, wanted, desk)) as takings:
            taking = next(takings, None)
            if taking is None:
                return f"# {source.name}: the source gave no row"
            try:
                connection.execute(f"CREATE TABLE rows AS {taking.select}")
            except duckdb.Error as error:
                raise unreadable(source.name, taking.origin, error) from error
        names = [row[0] for row in connection.execute("DESCRIBE rows").fetchall()]
        columns = [_column(connection, name, source.missing_values) for name in names]
    lines = ",\n".join(f"    {_line(column)}" for column in columns)
    return f"# {source.name}, from {taking.origin}: correct it, choose a key\ncolumns = [\n{lines},\n]"


def _column(connection: duckdb.DuckDBPyConnection, name: str, missing: Sequence[str]) -> Column:
    seen = _look(connection, name, missing)
    text = trimmed(quoted(name), missing)
    nullable = seen.values < seen.rows
    if seen.values and seen.booleans == seen.values:
        return Column(name=name, type="boolean", nullable=nullable)
    kind = next((kind for kind in KINDS if seen.values and seen.fits[kind] == seen.values), None)
    if kind in ("integer", "number"):
        low = connection.execute(f"SELECT min({typed(text, kind)}) FROM rows").fetchone()
        # What was never negative is a count or a measure; how large the next one is, nobody knows.
        return Column(name=name, type=kind, nullable=nullable, minimum=0 if low and low[0] >= 0 else None)
    if kind:
        return Column(name=name, type=kind, nullable=nullable)
    few = 0 < seen.distinct <= min(MOST_CATEGORIES, seen.rows / ROWS_OF_A_CATEGORY)
    values = (
        connection.execute(f"SELECT DISTINCT {text} FROM rows WHERE {text} IS NOT NULL ORDER BY ALL") if few else None
    )
    categories = tuple(row[0] for row in values.fetchall()) if values else ()
    return Column(name=name, type="text", nullable=nullable, categories=categories)


def _look(connection: duckdb.DuckDBPyConnection, name: str, missing: Sequence[str]) -> _Seen:
    kinds = ", ".join(f"count({typed('text', kind)})" for kind in KINDS)
    rows, values, distinct, booleans, *fits = connection.execute(
        f"""SELECT count(*), count(text), count(DISTINCT text), 
                   count(*) FILTER (lower(text) IN ('true', 'false')), {kinds}
            FROM (SELECT {trimmed(quoted(name), missing)} AS text FROM rows)"""
    ).fetchone() or (0, 0, 0, 0, *(0 for _ in KINDS))
    return _Seen(rows, values, distinct, dict(zip(KINDS, fits, strict=True)), booleans)


def _line(column: Column) -> str:
    """The column as an inline table of TOML."""
    parts = [f"name = {json.dumps(column.name, ensure_ascii=False)}", f'type = "{column.type}"']
    parts += ["nullable = true"] if column.nullable else []
    parts += [f"minimum = {column.minimum:g}"] if isinstance(column.minimum, float | int) else []
    if column.categories:
        parts.append(f"categories = {json.dumps(list(column.categories), ensure_ascii=False)}")
    return f"{{ {', '.join(parts)} }}"
