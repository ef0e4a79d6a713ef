"""What is asked of a source, and what it gave."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from boucle.errors import InvalidSource

Position = dict[str, Any]
# Columns in the order of their appearance, their values as they are; records that have little in common stay records.
JSON_READER = """read_json('{path}', format = '{format}', maximum_depth = 1, sample_size = -1,
                           map_inference_threshold = -1)"""


@dataclass(frozen=True)
class Wanted:
    """How much is taken of each source: rows, bytes, and a window of its cursor (``since`` included, ``until`` not)."""

    limit: int | None = None
    since: str = ""
    until: str = ""
    max_bytes: int | None = None

    @property
    def lane(self) -> str:
        """The window's name: each window is resumed by itself."""
        return f"{self.since}..{self.until}"

    def allows(self, rows: int, size: int) -> bool:
        """Whether so many rows of so many bytes together are not too much."""
        return (self.limit is None or rows <= self.limit) and (self.max_bytes is None or size <= self.max_bytes)


@dataclass(frozen=True)
class Taking:
    """Rows that a source gave: ``select``, in SQL, reads them as texts in their order.

    ``may_lack``: records of JSON leave out what is null.
    """

    origin: str
    select: str
    sha256: str
    bytes: int
    lane: str
    position: Position
    may_lack: bool


Takings = Iterator[Taking]


@dataclass(frozen=True)
class Desk:
    """What a source is given to work with."""

    aside: Path
    connection: duckdb.DuckDBPyConnection
    position: Callable[[str], Position]
    environment: Mapping[str, str]
    report: Callable[[str], None]


@dataclass
class Spool:
    """Records on their way to the lake, one JSON object a line."""

    desk: Desk
    origin: str
    lane: str
    rows: int = 0
    bytes: int = 0
    _hash: Any = field(default_factory=hashlib.sha256)  # hashlib gives its objects no public type

    def __post_init__(self) -> None:
        self._path = self.desk.aside / f"spool-{id(self)}.ndjson"
        self._file = self._path.open("wb")

    def add(self, record: Mapping[str, Any], wanted: Wanted, taken: tuple[int, int]) -> bool:
        """Whether the record was still wanted after ``taken`` rows and bytes; it was then written."""
        line = (
            json.dumps(
                {name or "unnamed": text_of(value) for name, value in record.items()}, ensure_ascii=False
            ).encode()
            + b"\n"
        )
        if not wanted.allows(taken[0] + self.rows + 1, taken[1] + self.bytes + len(line)):
            return False
        self._file.write(line)
        self._hash.update(line)
        self.rows += 1
        self.bytes += len(line)
        return True

    def taking(self, position: Position) -> Taking:
        """What was written; the source goes on at ``position``."""
        self._file.close()
        select = texts_of_json(self.desk.connection, self._path, "newline_delimited")
        return Taking(self.origin, select, self._hash.hexdigest(), self.bytes, self.lane, position, may_lack=True)

    def close(self) -> None:
        """Forget what was written."""
        self._file.close()
        self._path.unlink(missing_ok=True)


def unreadable(source: str, origin: str, error: duckdb.Error) -> InvalidSource:
    """What is wrong with the content, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # The line itself may be long, and holds data.
    reason = " ".join(line for line in lines[:3] if not line.startswith("Original Line"))[:240]
    return InvalidSource(f"source {source}: {origin} cannot be read ({reason}); a text must be UTF-8")


def texts_of_json(connection: duckdb.DuckDBPyConnection, path: Path, form: str) -> str:
    """A SELECT of the file's records, each value as text: strings without quotes, the rest as JSON writes it."""
    reader = JSON_READER.format(path=str(path).replace("'", "''"), format=form)
    names = [row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {reader}").fetchall()]
    if not names:
        raise InvalidSource(f"{path}: its records have no names")
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    columns = ", ".join(f"to_json({name}) ->> '$' AS {name}" for name in quoted)
    return f"SELECT {columns} FROM {reader}"


class Written(float):
    """A float that remembers how it was written."""

    def __init__(self, text: str) -> None:
        self.text = text


def text_of(value: object) -> str | None:
    """The value as the source wrote it, strings without quotes."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Written):
        return value.text
    if isinstance(value, bool | int | float | list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    # A database's dates, times and decimals.
    return str(value)
