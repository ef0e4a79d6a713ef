"""A batch of raw rows, and where it came from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict


class Provenance(BaseModel):
    """What is written into the batch's own file, so that the warehouse can be built again from the lake alone.

    ``number`` counts the batches of a source: their order must not hang on a clock. ``position`` is where the source
    is to be resumed within ``lane``, the part of it that was asked for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    number: int
    batch: str
    origin: str
    taken_at: str
    sha256: str
    bytes: int
    lane: str
    position: dict[str, Any]


@dataclass(frozen=True)
class Batch:
    """A file of the lake: every cell a text, as the source wrote it."""

    provenance: Provenance
    path: Path
    rows: int
    columns: tuple[str, ...]
