"""Batches: rows of JSON, NDJSON or CSV in, chunk by chunk, and an answer or an error for each of them."""

import csv
import io
import math
from codecs import BOM_UTF8, getincrementaldecoder
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from tempfile import SpooledTemporaryFile
from time import perf_counter
from typing import IO, Any

import msgspec
import numpy as np
from uuid_utils import uuid7

from boucle.contract import Boolean, Cell, Contract, Feature, Label, Number, Record, show
from boucle.errors import BoucleError, FieldError, InvalidRecord
from serving.bodies import parse_json, wrong_body
from serving.predictor import UNREADABLE, Predictor, Reader, Values
from serving.problems import BodyTooLarge, UnsupportedBody, field_problems

CSV, NDJSON, JSON = "text/csv", ("application/x-ndjson", "application/jsonl"), "application/json"
MEDIA_TYPES = (JSON, NDJSON[0], CSV)
SEPARATORS = ",;\t|"
CHUNK_ROWS = 500
IN_MEMORY_BYTES = 1_000_000
Cells = list[str] | InvalidRecord  # a line of CSV, or why it is none
TRUTHS = {"true": True, "false": False, "1": True, "0": False}


class RowAnswer(msgspec.Struct):
    """`serving.predictor.Answer` with the number of its row."""

    row: int
    prediction_id: str
    prediction: Label
    probabilities: dict[str, float]
    model_version: str
    warnings: list[str]


@dataclass(frozen=True)
class Chunk:
    """Rows in order, each as typed values or its error; ``warnings`` by position, where there are any."""

    rows: Sequence[Values | InvalidRecord]
    warnings: dict[int, list[str]] = field(default_factory=dict)


encode_lines = msgspec.json.Encoder().encode_lines


async def spool(parts: AsyncIterator[bytes], folder: Path, most_line_bytes: int) -> IO[bytes]:
    """The body in a file of ``folder`` without a name: a client reads no answer before it has sent it all.

    Raises:
        InvalidRecord: when it is not UTF-8.
        BodyTooLarge: when a line, which is held in memory, is longer than ``most_line_bytes``, or the disk is full.
    """
    file: Any = SpooledTemporaryFile(IN_MEMORY_BYTES, dir=str(folder))  # noqa: SIM115 (the reader closes it)
    checked = _Checked(most_line_bytes)
    try:
        async for part in parts:
            checked.see(part)
            file.write(part)
        checked.see(b"", is_last=True)
    except OSError as error:
        file.close()
        raise BodyTooLarge(f"there is no room for the body ({error.strerror}); send it in parts") from error
    except BoucleError:
        file.close()
        raise
    file.seek(0)
    spooled: IO[bytes] = file
    return spooled


class _Checked:
    """Looks at a body as it comes."""

    def __init__(self, most_line_bytes: int) -> None:
        self._most_line_bytes = most_line_bytes
        self._decoder = getincrementaldecoder("utf-8")()
        self._size = self._line = 0

    def see(self, part: bytes, *, is_last: bool = False) -> None:
        """The next part, which is much shorter than the longest line allowed."""
        begun = len(self._decoder.getstate()[0])  # bytes of a character that the last part cut
        try:
            self._decoder.decode(part, final=is_last)
        except UnicodeDecodeError as error:
            byte, where = error.object[error.start], self._size - begun + error.start
            message = f"is not UTF-8: byte 0x{byte:02X} at position {where}; save the file as UTF-8"
            raise wrong_body(message) from error
        self._size += len(part)
        newline = part.rfind(b"\n")
        self._line = self._line + len(part) if newline < 0 else len(part) - newline - 1
        if self._line > self._most_line_bytes:
            allowed = f"{self._most_line_bytes:,} bytes at most (limits.body_bytes)"
            raise BodyTooLarge(
                f"a line, or a JSON array, may have {allowed}; send NDJSON or CSV with a line for each row"
            )


def chunks(file: IO[bytes], media_type: str, predictor: Predictor, most_json_bytes: int) -> Iterator[Chunk]:
    """The rows of a body, `CHUNK_ROWS` at a time; a JSON array is held in memory, of the others a chunk.

    Raises:
        UnsupportedBody: when the media type is none of `MEDIA_TYPES`.
        BodyTooLarge: when a JSON array is longer than ``most_json_bytes``.
        InvalidRecord: when the body as a whole cannot be read.
    """
    if media_type == CSV:
        return _csv_chunks(file, predictor.contract)
    if media_type in NDJSON:
        return _json_chunks(_lines(file), predictor)
    if media_type == JSON:
        body = file.read(most_json_bytes + 1)
        if len(body) > most_json_bytes:
            message = f"a JSON array may have {most_json_bytes:,} bytes at most (limits.body_bytes); send NDJSON or CSV"
            raise BodyTooLarge(message)
        return _array_chunks(body, predictor)
    raise UnsupportedBody(f"Content-Type {show(media_type)} is not read here; send {', '.join(MEDIA_TYPES)}")


def answer(predictor: Predictor, chunk: Chunk, first_row: int) -> tuple[bytes, int, float]:
    """A line of JSON for every row; how many were predicted, and how long embedding and model took for one."""
    good = [row for row in chunk.rows if not isinstance(row, InvalidRecord)]
    outputs: list[list[float]] = []
    started = perf_counter()
    if good:
        outputs = predictor.version.scorer.matrix(zip(*good, strict=True)).tolist()
    seconds = (perf_counter() - started) / (len(good) or 1)
    decode, classes, version = predictor.decode, predictor.classes, predictor.name
    predicted = [(str(uuid7()), seconds, values, decode(row), row) for values, row in zip(good, outputs, strict=True)]
    predictor.log_many(predicted)
    answers = iter(predicted)
    lines: list[Any] = []
    for position, row in enumerate(chunk.rows):
        number = first_row + position
        if isinstance(row, InvalidRecord):
            lines.append({"row": number, "error": _row_error(row)})
            continue
        identifier, _, _, label, output = next(answers)
        probabilities = dict(zip(classes, output))  # noqa: B905 (a quantity has an output and no class)
        warnings = chunk.warnings.get(position, [])
        lines.append(RowAnswer(number, identifier, label, probabilities, version, warnings))
    return encode_lines(lines), len(good), seconds


def _row_error(error: InvalidRecord) -> dict[str, Any]:
    return {"detail": str(error), "errors": [problem.model_dump() for problem in field_problems(error)]}


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    for number, line in enumerate(file):
        text = line.removeprefix(BOM_UTF8) if number == 0 else line
        if text.strip():
            yield text


def _array_chunks(body: bytes, predictor: Predictor) -> Iterator[Chunk]:
    try:
        # Raw: the rows are decoded one by one, as every one may have mistakes of its own.
        rows: list[Any] = msgspec.json.decode(body, type=list[msgspec.Raw])
    except UNREADABLE as error:
        rows = parse_json(body)  # raises, and says where
        raise wrong_body("must be an array with one object per row") from error
    return _json_chunks(map(bytes, rows), predictor)


def _json_chunks(texts: Iterable[bytes], predictor: Predictor) -> Iterator[Chunk]:
    rows = iter(texts)
    while taken := list(islice(rows, CHUNK_ROWS)):
        yield _json_chunk(taken, predictor)


def _json_chunk(texts: Sequence[bytes], predictor: Predictor) -> Chunk:
    rows: list[Values | InvalidRecord] = []
    warnings = {}
    for position, text in enumerate(texts):
        try:
            values, said = predictor.read_or_explain(text)
        except InvalidRecord as error:
            rows.append(error)
            continue
        rows.append(values)
        if said:
            warnings[position] = said
    return Chunk(rows, warnings)


def _csv_chunks(file: IO[bytes], contract: Contract) -> Iterator[Chunk]:
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    header = text.readline()
    text.seek(0)
    separator = max(SEPARATORS, key=header.count)
    lines = csv.reader(text, delimiter=separator)
    try:
        columns = [name.strip() for name in next((line for line in lines if line), [])]
    except csv.Error as error:
        raise wrong_body(f"is not CSV: {error}") from error
    if not columns:
        raise wrong_body("is empty: give a header line with the columns, then one line per row")
    _check_header(columns, contract)
    is_plain = all(isinstance(one, Number) and not one.nullable for one in contract.features)
    if separator == "," and is_plain and not has_numeric_gaps(contract):
        return _numbers_by_line(text, columns, contract)
    return _by_cells(lines, columns, contract)


def _numbers_by_line(text: Iterator[str], columns: list[str], contract: Contract) -> Iterator[Chunk]:
    """A line of numbers is an array of JSON but for its brackets, and read so in a quarter of the time."""
    as_json, as_cells = Reader(contract, columns), _CsvReader(columns, contract)
    lines = (_line(line, text, as_json, as_cells) for line in text)
    filled = (line for line in lines if line is not None)
    while taken := list(islice(filled, CHUNK_ROWS)):
        yield Chunk([row for row, _ in taken], {position: said for position, (_, said) in enumerate(taken) if said})


def _line(
    line: str, text: Iterator[str], as_json: Reader, as_cells: "_CsvReader"
) -> tuple[Values | InvalidRecord, list[str]] | None:
    try:
        return as_json.read(f"[{line}]")
    except UNREADABLE:  # quoted, spelt otherwise, or wrong
        try:
            cells = next(csv.reader(chain([line], text)), [])  # a quoted cell may go on in the next lines
        except csv.Error as error:
            return _no_csv(error), []
        if not cells:
            return None
        chunk = as_cells.by_row([cells])
        return chunk.rows[0], chunk.warnings.get(0, [])


def _by_cells(lines: Iterator[list[str]], columns: list[str], contract: Contract) -> Iterator[Chunk]:
    reader = _CsvReader(columns, contract)
    filled = _filled(lines)
    while taken := list(islice(filled, CHUNK_ROWS)):
        yield reader.chunk(taken)


def _filled(lines: Iterator[list[str]]) -> Iterator[Cells]:
    while True:
        try:
            line = next(lines, None)
        except csv.Error as error:
            yield _no_csv(error)
            continue
        if line is None:
            return
        if line:
            yield line


def _no_csv(error: csv.Error) -> InvalidRecord:
    return InvalidRecord([FieldError("row", "", f"is not CSV: {error}")])


def has_numeric_gaps(contract: Contract) -> bool:
    """Whether a number stands for a missing value, such as -999: then a cell is looked up before it is read."""
    for text in contract.missing_values:
        try:
            if math.isfinite(float(text)):
                return True
        except ValueError:
            continue
    return False


class _CsvReader:
    """Text cells to typed values, by column where a whole chunk is right, else row by row to name each mistake."""

    def __init__(self, columns: list[str], contract: Contract) -> None:
        self._columns = columns
        self._contract = contract
        self._features = [(columns.index(feature.name), feature) for feature in contract.features]
        self._missing = frozenset({"", *contract.missing_values})
        self._has_numeric_gaps = has_numeric_gaps(contract)

    def chunk(self, lines: Sequence[Cells]) -> Chunk:
        """The rows of some lines."""
        try:
            return self._by_column(lines)
        except ValueError:
            return self.by_row(lines)

    def _by_column(self, lines: Sequence[Cells]) -> Chunk:
        if any(isinstance(line, InvalidRecord) for line in lines):
            raise ValueError("a line is no CSV")
        cells = list(zip(*lines, strict=True))
        if len(cells) != len(self._columns):
            raise ValueError(len(cells))
        columns, unusual = [], np.zeros(len(lines), dtype=bool)
        for position, feature in self._features:
            values, seldom = self._column(cells[position], feature)
            columns.append(values)
            unusual |= seldom
        rows = list(zip(*columns, strict=True))
        names = self._contract.names
        warned = np.flatnonzero(unusual).tolist()
        return Chunk(rows, {row: self._contract.surprises(dict(zip(names, rows[row], strict=True))) for row in warned})

    def _column(self, cells: Sequence[str], feature: Feature) -> tuple[Sequence[Cell], Any]:
        """The typed values, and where they were never seen in the reference rows; ValueError if one is wrong."""
        if isinstance(feature, Number):
            return self._numbers(cells, feature)
        texts = [None if (text := cell.strip()) in self._missing else text for cell in cells]
        if None in texts and not feature.nullable:
            raise ValueError
        if isinstance(feature, Boolean):
            try:
                return [None if text is None else TRUTHS[text.lower()] for text in texts], False
            except KeyError as error:
                raise ValueError from error
        if any(text is not None and "\0" in text for text in texts):
            raise ValueError
        known = {None, *feature.categories}
        return texts, np.array([text not in known for text in texts])

    def _numbers(self, cells: Sequence[str], feature: Number) -> tuple[Sequence[Cell], Any]:
        try:
            values: list[Any] = [] if self._has_numeric_gaps else list(map(float, cells))
        except ValueError:
            if not feature.nullable:
                raise
            values = []
        if not values:
            values = [None if (text := cell.strip()) in self._missing else float(text) for cell in cells]
            if not feature.nullable and None in values:
                raise ValueError(feature.name)
        array, (lowest, highest) = np.array(values, dtype=np.float64), feature.limits
        is_allowed = (array >= lowest) & (array <= highest)
        if feature.nullable:
            is_allowed |= np.array([value is None for value in values])
        if not is_allowed.all():  # also "nan": read row by row it may stand for a missing value
            raise ValueError(feature.name)
        return values, (array < feature.minimum) | (array > feature.maximum)

    def by_row(self, lines: Sequence[Cells]) -> Chunk:
        """The rows of some lines, each with all its mistakes."""
        rows: list[Values | InvalidRecord] = []
        warnings = {}
        for position, cells in enumerate(lines):
            try:
                record = self._record(cells)
            except InvalidRecord as error:
                rows.append(error)
                continue
            rows.append(tuple(record.values()))
            if said := self._contract.surprises(record):
                warnings[position] = said
        return Chunk(rows, warnings)

    def _record(self, cells: Cells) -> Record:
        if isinstance(cells, InvalidRecord):
            raise cells
        if len(cells) != len(self._columns):
            message = f"has {len(cells)} cells, the header line has {len(self._columns)}"
            raise InvalidRecord([FieldError("row", "", message)])
        return self._contract.validate_cells(dict(zip(self._columns, cells, strict=True)))


def _check_header(columns: list[str], contract: Contract) -> None:
    problems = [
        FieldError(name, "", "is missing from the header line") for name in contract.names if name not in columns
    ]
    problems += [
        FieldError(show(name), "", "is no column of this project, or stands twice in the header line")
        for position, name in enumerate(columns)
        if name not in contract.names or name in columns[:position]
    ]
    if problems:
        raise InvalidRecord(problems)
