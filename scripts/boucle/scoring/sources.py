"""Where rows come from: each source gives them in one order, as cells to be read and as columns to be passed on."""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import IO, Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Column, MetaData, Numeric, Select, Table, create_engine, func, select

from boucle.errors import FieldError, InvalidRecord, NotScored
from boucle.rows import SEPARATORS, Cells, filled
from boucle.scoring.addresses import SQLTable, parse


@dataclass(frozen=True)
class Taken:
    """Some rows in the input's order: ``cells`` by column name as CSV writes them, ``table`` as they are passed on."""

    columns: list[str]
    cells: Sequence[Cells]
    table: pa.Table


class Source(Protocol):
    """A table to be scored."""

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""

    @property
    def rows(self) -> int:
        """How many there are, about."""

    @property
    def identity(self) -> str | None:
        """Differs when the rows may; None when their order is not sure, and a run cannot go on in the middle."""

    def taken(self, skip: int, wanted: Sequence[str], at_most: int) -> Iterator[Taken]:
        """The rows behind the first ``skip``, at most so many at a time; cells of the ``wanted`` columns."""


def source_of(address: str) -> Source:
    """The source that ``address`` names.

    Raises:
        NotScored: when there is none, or it cannot be read.
    """
    place = parse(address)
    if isinstance(place, SQLTable):
        return SQLSource(place)
    if not place.is_file():
        raise NotScored(f"{place}: no such file")
    return ParquetSource(place) if place.name.lower().endswith(".parquet") else CSVSource(place)


@dataclass(frozen=True)
class CSVSource:
    """A CSV file with a header line, read exactly as `POST /predict/batch` reads one."""

    path: Path

    @property
    def identity(self) -> str:
        return _identity(self.path)

    @cached_property
    def rows(self) -> int:
        with (
            self._failing(),
            self._open() as file,
        ):  # a text can hold a line break: it is counted for the progress bar only
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b"")) - 1

    @cached_property
    def columns(self) -> list[str]:
        with self._lines() as lines:
            first = next(lines, None)
        if not isinstance(first, list):
            raise NotScored(f"{self.path}: has no header line")
        return [name.strip() for name in first]

    def taken(self, skip: int, wanted: Sequence[str], at_most: int) -> Iterator[Taken]:
        schema = pa.schema([(name, pa.string()) for name in self.columns])
        with self._lines() as lines:
            rest = islice(lines, 1 + skip, None)
            while some := list(islice(rest, at_most)):
                yield self._part(some, schema, wanted)

    def _part(self, lines: list[Cells], schema: pa.Schema, wanted: Sequence[str]) -> Taken:
        width, positions = len(schema), [self.columns.index(name) for name in wanted]
        is_whole = [isinstance(line, list) and len(line) == width for line in lines]
        # What is no row is rejected by its shape, which must not get lost when columns are chosen.
        cells: list[Cells] = [
            [line[position] for position in positions] if whole and isinstance(line, list) else _broken(line, width)
            for line, whole in zip(lines, is_whole, strict=True)
        ]
        blank = [""] * width
        rows = [line if whole else blank for line, whole in zip(lines, is_whole, strict=True)]
        columns: list[Any] = list(zip(*rows, strict=True))
        return Taken(list(wanted), cells, pa.table([pa.array(column, pa.string()) for column in columns], schema))

    @contextmanager
    def _lines(self) -> Iterator[Iterator[Cells]]:
        with self._failing(), self._open() as file, io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
            header = text.readline()
            separator = max(SEPARATORS, key=header.count)
            text.seek(0)
            yield filled(csv.reader(text, delimiter=separator))

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except UnicodeDecodeError as error:
            raise NotScored(f"{self.path}: is not UTF-8 ({error.reason}); save the file as UTF-8") from error
        except (OSError, EOFError, zlib.error) as error:
            raise NotScored(f"{self.path}: cannot be read ({error})") from error

    def _open(self) -> IO[bytes]:
        is_gzip = self.path.suffix.lower() == ".gz"
        opened: Any = gzip.open(self.path) if is_gzip else self.path.open("rb")  # noqa: SIM115 (the reader closes it)
        file: IO[bytes] = opened
        return file


@dataclass(frozen=True)
class ParquetSource:
    """A Parquet file; a row group is not held whole."""

    path: Path

    @property
    def identity(self) -> str:
        return _identity(self.path)

    @cached_property
    def columns(self) -> list[str]:
        with self._file() as file:
            return list(file.schema_arrow.names)

    @cached_property
    def rows(self) -> int:
        with self._file() as file:
            return int(file.metadata.num_rows)

    def taken(self, skip: int, wanted: Sequence[str], at_most: int) -> Iterator[Taken]:
        with self._file() as file:
            groups, left = _groups_behind(file.metadata, skip)
            for batch in file.iter_batches(at_most, row_groups=groups):
                rest = batch.slice(min(left, len(batch)))
                left -= len(batch) - len(rest)
                if len(rest):
                    table = pa.Table.from_batches([rest])
                    yield Taken(list(wanted), _texts(table, wanted), table)

    @contextmanager
    def _file(self) -> Iterator[pq.ParquetFile]:
        try:
            with pq.ParquetFile(self.path) as file:
                yield file
        except (pa.ArrowException, OSError) as error:
            raise NotScored(f"{self.path}: cannot be read ({error})") from error


@dataclass(frozen=True)
class SQLSource:
    """A table of a database, in the order of its primary key."""

    place: SQLTable

    @property
    def columns(self) -> list[str]:
        return [column.name for column in self._table.columns]

    @cached_property
    def rows(self) -> int:
        with self.place.failing("read"), self._engine.connect() as connection:
            return int(connection.execute(select(func.count()).select_from(self._table)).scalar_one())

    @property
    def identity(self) -> str | None:
        return f"{self.place} {self.rows} rows" if self._table.primary_key.columns else None

    def taken(self, skip: int, wanted: Sequence[str], at_most: int) -> Iterator[Taken]:
        schema = pa.schema([(column.name, _arrow_type(column)) for column in self._table.columns])
        rows: Select[Any] = select(self._table).order_by(*self._table.primary_key.columns).offset(skip)
        with self.place.failing("read"), self._engine.connect() as connection:
            streamed = connection.execution_options(stream_results=True, yield_per=at_most).execute(rows)
            for some in streamed.partitions(at_most):
                columns = zip(*some, strict=True)
                arrays = [_array(list(cells), field, self.place) for cells, field in zip(columns, schema, strict=True)]
                table = pa.table(arrays, schema)
                yield Taken(list(wanted), _texts(table, wanted), table)

    @cached_property
    def _engine(self) -> Any:  # an SQLAlchemy engine
        return create_engine(self.place.url)

    @cached_property
    def _table(self) -> Table:
        database = self.place.url.database or ""
        # SQLite would make an empty file of a mistyped name.
        if self.place.url.get_backend_name() == "sqlite" and not Path(database).is_file():
            raise NotScored(f"{database}: no such file")
        with self.place.failing("read"):
            return Table(self.place.name, MetaData(), schema=self.place.schema, autoload_with=self._engine)


def _identity(path: Path) -> str:
    status = path.stat()
    return f"{path.resolve()} {status.st_size} {status.st_mtime_ns}"


def _broken(line: Cells, width: int) -> Cells:
    if isinstance(line, InvalidRecord):
        return line
    message = f"has {len(line)} cells, the header line has {width}"
    return InvalidRecord([FieldError("row", "", message)])


def _groups_behind(metadata: Any, skip: int) -> tuple[list[int], int]:
    """The row groups to read, and how many rows of them to leave out."""
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group).num_rows
        if skip < rows:
            return list(range(group, metadata.num_row_groups)), skip
        skip -= rows
    return [], 0


def _texts(table: pa.Table, wanted: Sequence[str]) -> list[Cells]:
    """The cells as CSV writes them, so that one reading serves all: numbers with all their digits, "" for a gap."""
    columns = [_text(table.column(name), name) for name in wanted]
    return [list(row) for row in zip(*columns, strict=True)]


def _text(column: pa.ChunkedArray, name: str) -> list[str]:
    try:
        if pa.types.is_floating(column.type):
            column = column.cast(pa.float64())
        return [text or "" for text in column.cast(pa.string()).to_pylist()]
    except pa.ArrowException as error:
        raise NotScored(f"column {name} holds {column.type}, which is no number, boolean or text") from error


def _array(cells: list[Any], field: pa.Field, place: SQLTable) -> pa.Array:
    try:
        return pa.array(cells, field.type)
    except (pa.ArrowException, OverflowError) as error:
        raise NotScored(f"{place}: column {field.name} holds what is no {field.type} ({error})") from error


def _arrow_type(column: Column[Any]) -> pa.DataType:
    if isinstance(column.type, Numeric) and column.type.asdecimal and column.type.scale is not None:
        return pa.decimal128(38, column.type.scale)
    try:
        kind = column.type.python_type.__name__
    except NotImplementedError:
        return pa.string()
    if kind == "datetime":
        return pa.timestamp("us", tz="UTC" if getattr(column.type, "timezone", False) else None)
    kinds = {"int": pa.int64(), "float": pa.float64(), "Decimal": pa.float64(), "bool": pa.bool_(), "date": pa.date32()}
    return kinds.get(kind, pa.string())
