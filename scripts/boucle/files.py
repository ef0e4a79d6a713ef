"""Files that are whole or absent, and pickles that are read only when their hash is the promised one."""

import hashlib
import io
import os
from pathlib import Path
from typing import Any

from boucle.errors import CorruptArtifact


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of the file's bytes in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pickled(value: object) -> bytes:
    """``value`` as joblib writes it."""
    # Here and not above, twice: serving reads files without it.
    import joblib

    buffer = io.BytesIO()
    joblib.dump(value, buffer)
    return buffer.getvalue()


def unpickle(content: bytes) -> Any:  # whatever was pickled
    """The object that `pickled` wrote; pass only bytes that `read_verified` has returned."""
    import joblib

    return joblib.load(io.BytesIO(content))


def read_verified(path: Path, sha256: str) -> bytes:
    """The bytes of ``path``, which were hashed as they were read.

    Raises:
        CorruptArtifact: when the file is missing, or its hash differs.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CorruptArtifact(f"{path}: cannot be read ({error.strerror})") from error
    if digest(content) != sha256:
        raise CorruptArtifact(f"{path}: its hash is not the promised one; it was changed or damaged, and is not loaded")
    return content


def replace(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path``: a reader, or a crash, sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    write_durably(aside, content)
    aside.rename(path)
    sync_directory(path.parent)


def write_durably(path: Path, content: bytes) -> None:
    """Write and fsync a file that nobody reads yet."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Make the names in a folder durable: a rename is not, until its folder is synced."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
