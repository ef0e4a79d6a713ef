"""What the loads of each source have come to: data/etl.json, for who cannot open the warehouse beside a load."""

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from boucle import files

FILE = "etl.json"


class SourceStatus(BaseModel):
    """Rows of all batches in the warehouse by what became of them, and how the last load went."""

    model_config = ConfigDict(frozen=True)

    batches: int = 0
    loaded: int = 0
    quarantined: int = 0
    superseded: int = 0
    newest_at: datetime | None = None
    is_stale: bool = False
    succeeded_at: datetime | None = None
    error: str | None = None


class _Status(BaseModel):
    finished_at: datetime
    sources: dict[str, SourceStatus]


def last_loads(data: Path) -> dict[str, SourceStatus]:
    """By source; empty when nothing was ever loaded."""
    try:
        return _Status.model_validate_json((data / FILE).read_bytes()).sources
    except (OSError, ValidationError):
        return {}


def write_loads(data: Path, sources: dict[str, SourceStatus], now: datetime) -> None:
    """Replace the file."""
    status = _Status(finished_at=now, sources=sources)
    files.replace(data / FILE, status.model_dump_json(indent=2).encode())
