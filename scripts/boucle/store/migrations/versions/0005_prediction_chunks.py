"""Predictions are stored many in a row; a view shows them one by one, as the table did."""

import json
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

BATCH = 5_000
CHUNK_ROWS = 250
CHUNK_MILLISECONDS = 1_000
UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")

CHUNKS = sa.table(
    "prediction_chunks",
    *map(
        sa.column,
        ("first_id", "last_id", "created_at", "model_version", "arm", "columns", "classes", "rows", "content"),
    ),
)

# In both databases a UUID of version 7 tells its time; what is named otherwise has its chunk's.
SQLITE_MILLISECONDS = " + ".join(
    f"(instr('0123456789abcdef', substr(prediction.value ->> '$[0]', {place}, 1)) - 1) * {16**power}"
    for power, place in enumerate([13, 12, 11, 10, 8, 7, 6, 5, 4, 3, 2, 1])
)
VIEWS = {
    # With ->, which knows true from 1; and text from JSON that looks like it.
    "sqlite": f"""
        CREATE VIEW predictions AS
        SELECT
            prediction.value ->> '$[0]' AS prediction_id,
            CASE
                WHEN prediction.value ->> '$[0]' GLOB '????????-????-7???-????-????????????'
                THEN strftime('%Y-%m-%dT%H:%M:%f', ({SQLITE_MILLISECONDS}) / 1000.0, 'unixepoch') || '+00:00'
                ELSE chunk.created_at
            END AS created_at,
            chunk.model_version,
            chunk.arm,
            NULL AS client_id,
            (
                SELECT json_group_object(name.value, prediction.value -> ('$[2][' || name.key || ']'))
                FROM json_each(chunk.columns) AS name
            ) AS input,
            prediction.value -> '$[3]' AS prediction,
            (
                SELECT json_group_object(name.value, prediction.value -> ('$[4][' || name.key || ']'))
                FROM json_each(chunk.classes) AS name
            ) AS probabilities,
            prediction.value ->> '$[1]' AS latency_seconds
        FROM prediction_chunks AS chunk, json_each(chunk.content) AS prediction
    """,  # noqa: S608 - of nothing but the lines above
    "postgresql": """
        CREATE VIEW predictions AS
        SELECT
            prediction.value ->> 0 AS prediction_id,
            CASE
                WHEN prediction.value ->> 0 ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$'
                THEN to_char(
                    to_timestamp(
                        ('x0000' || left(prediction.value ->> 0, 8) || substr(prediction.value ->> 0, 10, 4))
                            ::bit(64)::bigint / 1000.0
                    ) AT TIME ZONE 'UTC',
                    'YYYY-MM-DD"T"HH24:MI:SS.MS"+00:00"'
                )
                ELSE chunk.created_at
            END AS created_at,
            chunk.model_version,
            chunk.arm,
            NULL::text AS client_id,
            (
                SELECT json_object_agg(name.value, cell.value ORDER BY name.place)::text
                FROM json_array_elements_text(chunk.columns::json) WITH ORDINALITY AS name (value, place)
                JOIN json_array_elements(prediction.value -> 2) WITH ORDINALITY AS cell (value, place) USING (place)
            ) AS input,
            (prediction.value -> 3)::text AS prediction,
            coalesce(
                (
                    SELECT json_object_agg(name.value, cell.value ORDER BY name.place)::text
                    FROM json_array_elements_text(chunk.classes::json) WITH ORDINALITY AS name (value, place)
                    JOIN json_array_elements(prediction.value -> 4) WITH ORDINALITY AS cell (value, place) USING (place)
                ),
                '{}'
            ) AS probabilities,
            (prediction.value ->> 1)::double precision AS latency_seconds
        FROM prediction_chunks AS chunk
        CROSS JOIN LATERAL json_array_elements(chunk.content::json) AS prediction (value)
    """,
}


def upgrade() -> None:
    """Make the table, carry the predictions over, put the view in the old table's place."""
    op.create_table(
        "prediction_chunks",
        sa.Column("first_id", sa.String(64), primary_key=True),
        sa.Column("last_id", sa.String(64), nullable=False, index=True),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("model_version", sa.String(32), nullable=False),
        sa.Column("arm", sa.String(32), nullable=False),
        sa.Column("columns", sa.Text, nullable=False),
        sa.Column("classes", sa.Text, nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
    )
    connection = op.get_bind()
    for batch in _batches(connection):
        connection.execute(sa.insert(CHUNKS), [_chunk(rows) for rows in _chunks(batch)])
    op.create_index("ix_prediction_chunks_age", "prediction_chunks", ["model_version", "created_at", "rows"])
    op.drop_table("predictions")
    connection.exec_driver_sql(VIEWS[connection.dialect.name])


def _batches(connection: sa.Connection) -> Iterator[Sequence[sa.Row[Any]]]:
    query = sa.text("SELECT * FROM predictions WHERE prediction_id > :after ORDER BY prediction_id LIMIT :limit")
    after = ""
    while batch := connection.execute(query, {"after": after, "limit": BATCH}).all():
        yield batch
        after = batch[-1].prediction_id


def _chunks(batch: Sequence[sa.Row[Any]]) -> Iterator[list[sa.Row[Any]]]:
    for _, rows in groupby(batch, _source):
        chunk: list[sa.Row[Any]] = []
        for row in rows:
            if chunk and (len(chunk) == CHUNK_ROWS or not _are_near(chunk[0].prediction_id, row.prediction_id)):
                yield chunk
                chunk = []
            chunk.append(row)
        yield chunk


def _source(row: sa.Row[Any]) -> tuple[str, str, str, str]:
    return row.model_version, row.arm, *(json.dumps(list(json.loads(x))) for x in (row.input, row.probabilities))


def _are_near(first_id: str, prediction_id: str) -> bool:
    if not (UUID7.fullmatch(first_id) and UUID7.fullmatch(prediction_id)):
        return False
    first, other = (int(identifier[:8] + identifier[9:13], 16) for identifier in (first_id, prediction_id))
    return other < first + CHUNK_MILLISECONDS


def _chunk(rows: list[sa.Row[Any]]) -> dict[str, str | int]:
    content = [
        [
            row.prediction_id,
            row.latency_seconds,
            list(json.loads(row.input).values()),
            json.loads(row.prediction),
            list(json.loads(row.probabilities).values()),
        ]
        for row in rows
    ]
    model_version, arm, columns, classes = _source(rows[0])
    return {
        "first_id": rows[0].prediction_id,
        "last_id": rows[-1].prediction_id,
        "created_at": max(row.created_at for row in rows),
        "model_version": model_version,
        "arm": arm,
        "columns": columns,
        "classes": classes,
        "rows": len(rows),
        "content": json.dumps(content),
    }
