"""Predictions as the log keeps them: many in one row of its table, which costs a tenth of a row for each.

Identifiers are UUIDs of version 7: their text sorts as their time does, and their first 48 bits are milliseconds.
"""

import json
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, TypeVar

import msgspec
import orjson

from boucle.contract import Cell, Label, Record

CHUNK_ROWS = 250
CHUNK_MILLISECONDS = 1_000

# prediction_id, latency_seconds, the values in column order, prediction, the probabilities in the classes' order
PredictionRow = tuple[str, float, Sequence[Cell], Label, Sequence[float]]
ROW_LENGTH = 5

WrittenRow = tuple[str, bytes]  # prediction_id, the row as JSON with a comma behind
Identified = TypeVar("Identified", WrittenRow, PredictionRow)

_decode = msgspec.json.Decoder().decode
_decode_at = json.JSONDecoder().raw_decode  # a value amid a text
_identifier = itemgetter(0)
_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


class LoggedPrediction(msgspec.Struct, frozen=True):
    """One answered prediction; ``latency_seconds`` is what the model took."""

    prediction_id: str
    created_at: str
    model_version: str
    input: Record
    prediction: Label
    probabilities: dict[str, float]
    latency_seconds: float
    arm: str = "champion"
    client_id: str | None = None


@dataclass(frozen=True)
class PredictionSource:
    """What all predictions of one version share; ``classes`` names the probabilities: none of a quantity."""

    model_version: str
    arm: str
    columns: tuple[str, ...]
    classes: tuple[str, ...]


@dataclass(frozen=True)
class PredictionChunk:
    """Predictions of one source, ``content`` holding them in the order of their identifiers.

    There are at most `CHUNK_ROWS`, and first and last were made less than `CHUNK_MILLISECONDS` apart: so whoever looks
    for an identifier knows in which chunks it can be. ``created_at`` is the time of the last one.
    """

    source: PredictionSource
    first_id: str
    last_id: str
    created_at: str
    rows: int
    content: str


def write(row: PredictionRow) -> WrittenRow:
    """The row as a chunk holds it, behind its identifier."""
    # The comma is also a copy: orjson's own bytes sit in a kilobyte, and thousands in a queue leave the heap in holes.
    return row[0], orjson.dumps(row) + b","


def pack(source: PredictionSource, rows: Sequence[WrittenRow]) -> Iterator[PredictionChunk]:
    """The rows as chunks; each is made when it is asked for."""
    for part in _parts(rows):
        yield _chunk(source, part, b"[" + b"".join([written for _, written in part])[:-1] + b"]")


def pack_unwritten(source: PredictionSource, rows: Sequence[PredictionRow]) -> Iterator[PredictionChunk]:
    """As `pack`, of many rows that are there at once: written together they cost less."""
    for part in _parts(rows):
        yield _chunk(source, part, orjson.dumps(part))


def _parts(rows: Sequence[Identified]) -> Iterator[Sequence[Identified]]:
    """The rows of each chunk."""
    rows, start = sorted(rows, key=_identifier), 0
    while start < len(rows):
        too_late = _beginning(_milliseconds(rows[start][0]) + CHUNK_MILLISECONDS)
        end = bisect_left(rows, too_late, start + 1, min(start + CHUNK_ROWS, len(rows)), key=_identifier)
        yield rows[start:end]
        start = end


def _chunk(source: PredictionSource, rows: Sequence[WrittenRow | PredictionRow], content: bytes) -> PredictionChunk:
    last = rows[-1][0]
    return PredictionChunk(source, rows[0][0], last, made_at(last), len(rows), content.decode())


def unpack(source: PredictionSource, content: str, created_at: str) -> list[LoggedPrediction]:
    """The predictions of a chunk, in the order of their identifiers."""
    return [_prediction(row, source, created_at) for row in _decode(content)]


def pick(
    source: PredictionSource, content: str, created_at: str, prediction_ids: Sequence[str]
) -> Iterator[LoggedPrediction]:
    """Those of a chunk that have these identifiers, which are in order, as far as they are in it.

    They are looked for in the text, each behind the one before: to read a whole chunk for one takes ten times as long.
    """
    position = 0
    for prediction_id in prediction_ids:
        found = _find(content, prediction_id, position)
        if found is not None:
            position, row = found
            yield _prediction(row, source, created_at)


def _find(content: str, prediction_id: str, position: int) -> tuple[int, list[Any]] | None:
    """Where the row with this identifier begins, from ``position`` on, and the row."""
    beginning = f"[{json.dumps(prediction_id)},"
    while (position := content.find(beginning, position)) >= 0:
        row, end = _decode_at(content, position)
        if len(row) == ROW_LENGTH and isinstance(row[2], list):
            return position, row
        position = end  # the values of another one, the first of which is this text
    return None


def made_at(prediction_id: str) -> str:
    """When the prediction was made, as ISO 8601 text in UTC."""
    moment = datetime.fromtimestamp(_milliseconds(prediction_id) / 1000, UTC)
    return moment.isoformat(timespec="milliseconds")


def earliest_first(prediction_id: str) -> str:
    """The lowest identifier that a chunk with this one can begin with."""
    if not tells_its_time(prediction_id):
        return prediction_id
    return _beginning(max(0, _milliseconds(prediction_id) - CHUNK_MILLISECONDS))


def _prediction(row: list[Any], source: PredictionSource, created_at: str) -> LoggedPrediction:  # see `PredictionRow`
    prediction_id, latency_seconds, values, prediction, probabilities = row
    return LoggedPrediction(
        prediction_id=prediction_id,
        created_at=made_at(prediction_id) if tells_its_time(prediction_id) else created_at,
        model_version=source.model_version,
        input=dict(zip(source.columns, values, strict=True)),
        prediction=prediction,
        probabilities=dict(zip(source.classes, probabilities, strict=False)),
        latency_seconds=latency_seconds,
        arm=source.arm,
    )


def tells_its_time(prediction_id: str) -> bool:
    """Whether it is a UUID of version 7; what the first Boucles logged may have been named otherwise."""
    return _UUID7.fullmatch(prediction_id) is not None


def _milliseconds(prediction_id: str) -> int:
    return int(prediction_id[:8] + prediction_id[9:13], 16)


def _beginning(milliseconds: int) -> str:
    """What identifiers of that moment begin with."""
    digits = f"{milliseconds:012x}"
    return f"{digits[:8]}-{digits[8:]}"
