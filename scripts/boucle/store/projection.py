"""prod_data.csv: the accepted feedback as lines of a file, each at the place that the table knows."""

import csv
import errno
import io
import os
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from boucle import files
from boucle.arrays import FloatArray
from boucle.contract import Label


def header_line(columns: Sequence[str]) -> str:
    """The first line, for an embedding with these columns."""
    return _line([*columns, "target", "prediction"])


def row_line(vector: FloatArray, target: Label, prediction: Label) -> bytes:
    """One row; a float is written with the digits that give the same float back."""
    return f"{','.join(map(repr, vector.tolist()))},{_cell(target)},{_cell(prediction)}\n".encode()


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


def matches(path: Path, lines: Iterable[bytes]) -> bool:
    """Whether the file holds these lines and nothing else."""
    try:
        with path.open("rb") as file:
            return all(file.read(len(line)) == line for line in lines) and not file.read(1)
    except FileNotFoundError:
        return False


def rebuild(path: Path, lines: Iterable[bytes]) -> None:
    """Write the file aside from its lines, then put it in place."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with aside.open("wb") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)
    files.sync_directory(path.parent)


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
