"""Who was champion from when to when, and why: one promotion per line of a file that only grows."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from boucle import files


def _moment(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("names no time zone")
    return text


class Promotion(BaseModel):
    """A version took charge: a line of the history, and the newest one is what champion.json holds.

    The manifest's hash makes the whole version tamper-evident.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    manifest_sha256: str
    previous: str | None
    promoted_at: Annotated[str, AfterValidator(_moment)]  # ISO 8601, with its zone
    reason: str
    actor: str


@dataclass(frozen=True)
class Reign:
    """A promotion, and when the next one ended it; the champion's has no end."""

    promotion: Promotion
    until: str | None

    def began_by(self, moment: datetime) -> bool:
        """Whether the version was promoted at ``moment``, which has a time zone, or before."""
        return datetime.fromisoformat(self.promotion.promoted_at) <= moment

    def ended_by(self, moment: datetime) -> bool:
        """Whether another one was in charge at ``moment``, which has a time zone, or before."""
        return self.until is not None and datetime.fromisoformat(self.until) <= moment


class History:
    """The file of promotions. A line is written after its promotion has taken effect, so no line is ever untrue.

    What a crash may leave is a part of a line, or a promotion without one: `newest_first` overlooks the part, and
    whoever writes next calls `note` with the promotion in effect before his own.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, promotion: Promotion) -> None:
        """Add a line, durable on return, unless it is the last one already. The caller is the only writer."""
        if next(self.newest_first(), None) == promotion:
            return
        with self._path.open("ab+") as file:
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
            file.write(promotion.model_dump_json().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        files.sync_directory(self._path.parent)

    def newest_first(self) -> Iterator[Promotion]:
        """Every promotion that was noted; a line that is not readable is left out."""
        try:
            lines = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        # Behind the last line break lies nothing, or what a crash left of a line.
        for line in reversed(lines[:-1]):
            try:
                yield _read(line)
            except ValidationError:
                continue


@lru_cache(maxsize=1_000)  # every promotion and every look at the models reads the same lines again
def _read(line: bytes) -> Promotion:
    return Promotion.model_validate_json(line)


def reigns(newest_first: Iterable[Promotion]) -> Iterator[Reign]:
    """The promotions with their ends, newest first."""
    until = None
    for promotion in newest_first:
        yield Reign(promotion, until)
        until = promotion.promoted_at
