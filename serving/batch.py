"""Batches: rows of JSON, NDJSON or CSV in, chunk by chunk, and an answer or an error for each of them."""

from codecs import BOM_UTF8, getincrementaldecoder
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice, repeat, starmap
from pathlib import Path
from tempfile import SpooledTemporaryFile
from time import perf_counter
from typing import IO, Any

import msgspec
import numpy as np
from uuid_utils import uuid7

from boucle.contract import Label, show
from boucle.errors import InvalidRecord
from boucle.rows import Chunk, Values
from serving import metrics
from serving.bodies import parse_json, wrong_body
from serving.csv_rows import csv_chunks
from serving.predictor import CHUNK_ROWS, UNREADABLE, Predictor
from serving.problems import BodyTooLarge, UnsupportedBody, field_problems

CSV, NDJSON, JSON = "text/csv", ("application/x-ndjson", "application/jsonl"), "application/json"
MEDIA_TYPES = (JSON, NDJSON[0], CSV)
IN_MEMORY_BYTES = 1_000_000
AT_ONCE_BYTES = 1_000_000  # decoding holds the interpreter: meanwhile nobody else is answered


class RowAnswer(msgspec.Struct, gc=False):
    """`serving.predictor.Answer` with the number of its row."""

    row: int
    prediction_id: str
    prediction: Label
    probabilities: Any
    model_version: str
    warnings: list[str]


NO_WARNINGS: list[str] = []
NOTHING = np.empty((0, 1))
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
    except BaseException as error:  # also when the client goes away in the middle
        file.close()
        if isinstance(error, OSError):
            raise BodyTooLarge(f"there is no room for the body ({error.strerror}); send it in parts") from error
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
        return csv_chunks(file, predictor.contract)
    if media_type in NDJSON:
        return _json_chunks(_lines(file), predictor)
    if media_type == JSON:
        body = file.read(most_json_bytes + 1)
        if len(body) > most_json_bytes:
            message = f"a JSON array may have {most_json_bytes:,} bytes at most (limits.body_bytes); send NDJSON or CSV"
            raise BodyTooLarge(message)
        return _array_chunks(body, predictor)
    raise UnsupportedBody(f"Content-Type {show(media_type)} is not read here; send {', '.join(MEDIA_TYPES)}")


def answer(predictor: Predictor, chunk: Chunk, first_row: int) -> bytes:
    """A line of JSON for every row: its prediction, which is logged and counted, or its mistakes."""
    positions = [position for position, row in enumerate(chunk.rows) if not isinstance(row, InvalidRecord)]
    good: list[Any] = [chunk.rows[position] for position in positions]
    started = perf_counter()
    scored = predictor.scored(good, chunk.encoded) if good else NOTHING
    seconds = (perf_counter() - started) / (len(good) or 1)
    identifiers, labels = [str(uuid7()) for _ in good], predictor.decode_many(scored)
    outputs = scored.tolist()
    predictor.log_many(list(zip(identifiers, repeat(seconds), good, labels, outputs)))
    answers = map(  # a loop in Python takes twice as long
        RowAnswer,
        map(first_row.__add__, positions),
        identifiers,
        labels,
        starmap(predictor.probabilities, outputs),
        repeat(predictor.name),
        map(chunk.warnings.get, positions, repeat(NO_WARNINGS)),
    )
    lines = [
        _refusal(row, number) if isinstance(row, InvalidRecord) else next(answers)
        for number, row in enumerate(chunk.rows, first_row)
    ]
    if good:
        metrics.PREDICTION_SECONDS.labels(predictor.name).observe(seconds)
        metrics.PREDICTIONS.labels(predictor.name).inc(len(good))
    return encode_lines(lines)


def _refusal(error: InvalidRecord, row: int) -> dict[str, Any]:
    problems = [problem.model_dump() for problem in field_problems(error)]
    return {"row": row, "error": {"detail": str(error), "errors": problems}}


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    for number, line in enumerate(file):
        text = line.removeprefix(BOM_UTF8) if number == 0 else line
        if text.strip():
            yield text


def _array_chunks(body: bytes, predictor: Predictor) -> Iterator[Chunk]:
    """By far most arrays have no mistake: a short one is read as a whole, and row by row where that fails."""
    if len(body) <= AT_ONCE_BYTES:
        with suppress(*UNREADABLE):
            read = predictor.reader.read_many(body)
            parts = (read[start : start + CHUNK_ROWS] for start in range(0, len(read), CHUNK_ROWS))
            return map(predictor.reader.chunk, parts)
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
