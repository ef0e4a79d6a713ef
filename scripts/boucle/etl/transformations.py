"""The named steps from raw text to typed rows, as SQL: trimmed, typed, judged, latest. DuckDB carries them out.

Each takes and returns text of SQL, so that each can be tried alone. Source: https://duckdb.org/docs/sql/introduction
"""

import difflib
from collections.abc import Sequence
from datetime import date

from boucle.errors import SchemaChanged
from boucle.etl.ingestion import Column, FilesSource, HttpSource, Kind, SqlSource

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL")
TYPES: dict[Kind, str] = {
    "integer": "BIGINT",
    "number": "DOUBLE",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "text": "VARCHAR",
}
# A single wrong row is a wrong row; of two on, when all are wrong, the column has changed.
FEWEST_TO_CHANGE = 2

AnySource = FilesSource | HttpSource | SqlSource


def quoted(name: str) -> str:
    """``name`` as an identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: object) -> str:
    """``value`` as a text literal."""
    return "'" + str(value).replace("'", "''") + "'"


def trimmed(text: str, missing: Sequence[str]) -> str:
    """The text without white space around it; NULL when it stands for a missing value."""
    texts = ", ".join(literal(value) for value in dict.fromkeys((*MISSING, *missing)))
    # Without a set of characters, trim takes off spaces only.
    bare = f"trim({text}, ' ' || chr(9) || chr(10) || chr(13))"
    return f"CASE WHEN {bare} NOT IN ({texts}) THEN {bare} END"


def typed(text: str, kind: Kind) -> str:
    """The value that the text writes; NULL when it is none of this kind. Timestamps become UTC, without a zone."""
    match kind:
        case "integer":
            # A cast alone would round 1.5 to 2.
            return (
                f"CASE WHEN regexp_full_match({text}, '[+-]?[0-9]+(\\.0*)?') "
                f"THEN TRY_CAST(TRY_CAST({text} AS DECIMAL(38, 1)) AS BIGINT) END"
            )
        case "number":
            return f"CASE WHEN isfinite(TRY_CAST({text} AS DOUBLE)) THEN TRY_CAST({text} AS DOUBLE) END"
        case "timestamp":
            return f"TRY_CAST({text} AS TIMESTAMPTZ) AT TIME ZONE 'UTC'"
        case "text":
            # No store but DuckDB keeps the character NUL.
            return f"CASE WHEN NOT contains({text}, chr(0)) THEN {text} END"
        case _:
            return f"TRY_CAST({text} AS {TYPES[kind]})"


def complaint(column: Column, text: str, value: str, is_key: bool) -> str:
    """What is wrong with the value, in words, or NULL."""
    name, shown = column.name.replace("'", "''"), f"left(replace({text}, chr(0), '?'), 60)"
    cases = [f"WHEN {text} IS NOT NULL AND {value} IS NULL THEN '{name}: ' || {shown} || ' is no {column.type}'"]
    if is_key or not column.nullable:
        cases.append(f"WHEN {text} IS NULL THEN '{name} is missing'")
    for limit, sign, word in ((column.minimum, "<", "below"), (column.maximum, ">", "above")):
        if limit is not None:
            cases.append(f"WHEN {value} {sign} {_limit(limit)} THEN '{name}: ' || {shown} || ' is {word} {limit}'")
    if column.categories:
        allowed = ", ".join(literal(category) for category in column.categories)
        known = ", ".join(column.categories).replace("'", "''")
        cases.append(f"WHEN {value} NOT IN ({allowed}) THEN '{name}: ' || {shown} || ' is none of {known}'")
    return f"CASE {' '.join(cases)} END"


def judged(source: AnySource, path: object, present: Sequence[str]) -> str:
    """Rows of a lake file with typed columns, ``_row`` and ``_reason``, which is empty for a row that is right.

    ``present`` are the file's columns; one that is not there is NULL in every row.
    """
    there = {name.lower() for name in present}
    texts, values, reasons = [], [], []
    for column in source.columns:
        raw = quoted(column.name) if column.name.lower() in there else "NULL::VARCHAR"
        text, value = quoted(f"text of {column.name}"), quoted(column.name)
        texts.append(f"{trimmed(raw, source.missing_values)} AS {text}")
        values.append(f"{typed(text, column.type)} AS {value}")
        reasons.append(complaint(column, text, value, column.name in source.key))
    names = ", ".join(quoted(column.name) for column in source.columns)
    return f"""
        WITH texts AS (SELECT file_row_number AS _row, {", ".join(texts)}
                       FROM read_parquet({literal(path)}, file_row_number = true, hive_partitioning = false)),
             typed AS (SELECT *, {", ".join(values)} FROM texts)
        SELECT {names}, _row, concat_ws('; ', {", ".join(reasons)}) AS _reason FROM typed"""


def latest(key: Sequence[str], table: str) -> str:
    """A condition that holds for the rows of ``table`` that are right and, of those with one key, for the last."""
    if not key:
        return "_reason = ''"
    columns = ", ".join(quoted(name) for name in key)
    # An aggregate, which spills to disk, where a window would not have to.
    return f"_row IN (SELECT max(_row) FROM {table} WHERE _reason = '' GROUP BY {columns})"


def check_columns(source: AnySource, present: Sequence[str], may_lack: bool) -> list[str]:
    """Columns that the contract does not know: they stay in the lake.

    ``may_lack`` is for JSON, whose records leave out what is null.

    Raises:
        SchemaChanged: when a column of the contract is not there.
    """
    there = {name.lower() for name in present}
    known = {column.name.lower() for column in source.columns}
    new = [name for name in present if name.lower() not in known]
    missing = [
        column.name
        for column in source.columns
        if column.name.lower() not in there and not (may_lack and column.nullable and column.name not in source.key)
    ]
    if missing:
        close = difflib.get_close_matches(missing[0], new, n=1)
        hint = f"; was it renamed to {close[0]}?" if close else f"; new are {', '.join(new)}" if new else ""
        raise SchemaChanged(
            f"source {source.name} has changed its schema: column {', '.join(missing)} is missing{hint}. Nothing of "
            f"this batch was loaded; mend the source, or its columns in project.toml"
        )
    return new


def type_counts(source: AnySource, path: object, present: Sequence[str]) -> str:
    """For each column of the contract that is there: how many values there are, how many are of its type, and one."""
    there = {name.lower() for name in present}
    rows = []
    for column in source.columns:
        if column.name.lower() in there:
            text = quoted(column.name)
            rows.append(f"count({text}), count({typed(text, column.type)}), left(any_value({text}), 60)")
    texts = [
        f"{trimmed(quoted(column.name), source.missing_values)} AS {quoted(column.name)}"
        for column in source.columns
        if column.name.lower() in there
    ]
    return f"""
        SELECT {", ".join(rows)} FROM (
            SELECT {", ".join(texts)} FROM read_parquet({literal(path)}, hive_partitioning = false))"""


def check_types(source: AnySource, present: Sequence[str], counts: Sequence[object]) -> None:
    """Compare what the query of `type_counts` returned with the contract.

    Raises:
        SchemaChanged: when no value of a column is of its type.
    """
    there = {name.lower() for name in present}
    columns = [column for column in source.columns if column.name.lower() in there]
    for position, column in enumerate(columns):
        values, right, example = counts[3 * position : 3 * position + 3]
        if isinstance(values, int) and values >= FEWEST_TO_CHANGE and not right:
            raise SchemaChanged(
                f"source {source.name} has changed its schema: column {column.name} holds no {column.type} any more, "
                f"such as {example!r}. Nothing of this batch was loaded; mend the source, or its columns in "
                f"project.toml"
            )


def _limit(limit: float | date) -> str:
    return f"DATE {literal(limit)}" if isinstance(limit, date) else repr(limit)
