"""Where predictions go: a file or a table that is whole, or as it was before."""

import csv
import gzip
import io
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Double,
    MetaData,
    Numeric,
    Table,
    Text,
    create_engine,
    insert,
    inspect,
    text,
)
from sqlalchemy.types import TypeEngine

from boucle import files
from boucle.scoring.addresses import SQLTable, parse

INSERT_ROWS = 1_000


class Sink(Protocol):
    """Takes the scored table."""

    @property
    def folder(self) -> Path:
        """Where the parts are kept until the output is whole."""

    @property
    def rejected(self) -> Path:
        """Where the rows go that do not fit."""

    def exists(self) -> bool:
        """Whether there is something that would be replaced."""

    def write(self, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
        """Put the rows there, all of them or none, in the place of what was there."""


def sink_of(address: str, data: Path) -> Sink:
    """The sink that ``address`` names; a table of a database keeps its parts in ``data``/scoring.

    Raises:
        NotScored: when it is neither a file nor a table.
    """
    place = parse(address)
    if isinstance(place, SQLTable):
        return SQLSink(place, data)
    return ParquetSink(place) if place.name.lower().endswith(".parquet") else CSVSink(place)


@dataclass(frozen=True)
class _FileSink:
    path: Path

    @property
    def folder(self) -> Path:
        return self.path.with_name(f"{self.path.name}.partial")

    @property
    def rejected(self) -> Path:
        return self.path.with_name(f"{self.path.name}.rejected.csv")

    def exists(self) -> bool:
        return self.path.exists()

    def __str__(self) -> str:
        return str(self.path)

    @contextmanager
    def _whole(self) -> Iterator[IO[bytes]]:
        """A file that takes its name when all of it is on the disk."""
        aside = self.folder / "whole"
        with aside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.rename(self.path)
        files.sync_directory(self.path.parent)


class ParquetSink(_FileSink):
    """A Parquet file."""

    def write(self, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
        with self._whole() as file, pq.ParquetWriter(file, schema) as writer:
            for table in tables:
                writer.write_table(table)


class CSVSink(_FileSink):
    """A CSV file in which no cell runs as a spreadsheet formula."""

    def write(self, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
        with self._whole() as file, self._text(file) as lines:
            writer = csv.writer(lines, lineterminator="\n")
            writer.writerow([without_formula(name) for name in schema.names])
            for table in tables:
                columns = [[cell_text(value) for value in column.to_pylist()] for column in table.columns]
                writer.writerows(zip(*columns, strict=True))

    @contextmanager
    def _text(self, file: IO[bytes]) -> Iterator[IO[str]]:
        opened: Any = gzip.GzipFile(fileobj=file, mode="wb") if self.path.suffix.lower() == ".gz" else file
        lines = io.TextIOWrapper(opened, encoding="utf-8", newline="")
        yield lines
        lines.flush()
        lines.detach()
        if opened is not file:
            opened.close()


@dataclass(frozen=True)
class SQLSink:
    """A table of a database: filled under another name, then renamed in one transaction."""

    place: SQLTable
    data: Path

    @property
    def folder(self) -> Path:
        # Two databases can have tables of the same name.
        return self.data / "scoring" / f"{self.place.name}-{files.digest(str(self).encode())[:8]}.partial"

    @property
    def rejected(self) -> Path:
        return self.folder.with_suffix(".rejected.csv")

    def __str__(self) -> str:
        return str(self.place)

    def exists(self) -> bool:
        with self.place.failing("written"):
            return bool(inspect(self._engine).has_table(self.place.name, schema=self.place.schema))

    def write(self, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
        columns = [Column(field.name, _sql_type(field.type)) for field in schema]
        aside = Table(f"{self.place.name}_partial", MetaData(), *columns, schema=self.place.schema)
        with self.place.failing("written"):
            aside.drop(self._engine, checkfirst=True)
            aside.create(self._engine)
            for table in tables:
                for batch in table.to_batches(INSERT_ROWS):
                    with self._engine.begin() as connection:
                        connection.execute(insert(aside), batch.to_pylist())
            self._swap(aside)

    def _swap(self, aside: Table) -> None:
        quote = self._engine.dialect.identifier_preparer
        old = Table(self.place.name, MetaData(), schema=self.place.schema)
        with self._engine.begin() as connection:
            old.drop(connection, checkfirst=True)
            connection.execute(text(f"ALTER TABLE {quote.format_table(aside)} RENAME TO {quote.quote(old.name)}"))

    @cached_property
    def _engine(self) -> Any:  # an SQLAlchemy engine
        return create_engine(self.place.url)


def cell_text(value: object) -> str:
    """The value as a cell of CSV: nothing for a gap, JSON's spelling of a boolean, and never a formula."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, date | datetime):
        return value.isoformat()
    return without_formula(value) if isinstance(value, str) else str(value)


def without_formula(text: str) -> str:
    """The text, with an apostrophe before what a spreadsheet would run; a number stays."""
    if not text.lstrip().startswith(("=", "+", "-", "@")):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def write_rejected(path: Path, aside: Path, parts: Sequence[Path]) -> None:
    """One file of the parts' lines, whole, by way of ``aside``; none when there are no parts."""
    if not parts:
        path.unlink(missing_ok=True)
        return
    with aside.open("wb") as file:
        file.write(b"row,field,value,message\n")
        for part in parts:
            with part.open("rb") as lines:
                shutil.copyfileobj(lines, file)
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)
    files.sync_directory(path.parent)


def _sql_type(kind: pa.DataType) -> TypeEngine[Any]:
    if pa.types.is_boolean(kind):
        return Boolean()
    if pa.types.is_integer(kind):
        return BigInteger()
    if pa.types.is_floating(kind):
        return Double()
    if pa.types.is_decimal(kind):
        return Numeric(kind.precision, kind.scale)
    if pa.types.is_timestamp(kind):
        return DateTime(timezone=kind.tz is not None)
    return Date() if pa.types.is_date(kind) else Text()
