"""prod_data.csv: the accepted feedback as lines of a file, each at the place that the table knows."""

import csv
import errno
import io
import os
import zlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import msgspec
import orjson

from boucle import files
from boucle.arrays import FloatArray
from boucle.contract import Label

READ_BYTES = 1 << 20


class Extent(msgspec.Struct, frozen=True):
    """What the file holds as far as byte ``end``, by its CRC-32."""

    end: int = 0
    checksum: int = 0

    def followed_by(self, lines: bytes) -> "Extent":
        """The same with these lines behind it."""
        return Extent(self.end + len(lines), zlib.crc32(lines, self.checksum))


def header_line(columns: Sequence[str]) -> str:
    """The first line, for an embedding with these columns."""
    return _line([*columns, "target", "prediction"])


def row_line(vector: FloatArray, target: Label, prediction: Label) -> bytes:
    """One row; a float is written with the digits that give the same float back.

    A row's line must never change by a byte: the table knows where it ends.
    """
    numbers = orjson.dumps(vector.tolist())[1:-1]  # in a tenth of repr's time
    if b"e" in numbers or b"0.0000" in numbers or b"null" in numbers:  # spelled otherwise than by repr, perhaps
        numbers = ",".join(map(repr, vector.tolist())).encode()
    return numbers + f",{_cell(target)},{_cell(prediction)}\n".encode()


def write_at(path: Path, end: int, lines: bytes) -> bool:
    """Write ``lines`` after byte ``end``, where the last acknowledged line ends; False if the file is shorter.

    What lies behind ``end`` was never acknowledged: a process was killed between its line and its commit.
    """
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        size = os.fstat(descriptor).st_size
        if size < end:
            return False
        if size > end:
            os.ftruncate(descriptor, end)
        if os.pwrite(descriptor, lines, end) < len(lines):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return True
    finally:
        os.close(descriptor)


def holds(path: Path, extent: Extent) -> bool:
    """Whether the file is this and nothing else; read once, at the speed of the disk."""
    found = Extent()
    try:
        with path.open("rb") as file:
            while part := file.read(READ_BYTES):
                found = found.followed_by(part)
    except FileNotFoundError:
        return False
    return found == extent


def rebuild(path: Path, lines: Iterable[bytes]) -> Extent:
    """Write the file aside from its lines, then put it in place."""
    aside, written = path.with_name(f".{path.name}.{os.getpid()}"), Extent()
    with aside.open("wb") as file:
        for line in lines:
            file.write(line)
            written = written.followed_by(line)
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)
    files.sync_directory(path.parent)
    return written


def _cell(label: Label) -> str:
    return _text_cell(label) if isinstance(label, str) else str(label)


@lru_cache(maxsize=1_000)
def _text_cell(text: str) -> str:
    # Beside another cell: alone, an empty one would be quoted.
    return _line(["", text])[1:-1]


def _line(cells: Sequence[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()
