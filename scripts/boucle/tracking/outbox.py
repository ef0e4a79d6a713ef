"""The folder where entries wait for MLflow: durable, in order, bounded."""

import fcntl
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError
from uuid_utils import uuid7

from boucle import files
from boucle.tracking.entries import ENTRY, Entry

log = logging.getLogger(__name__)

MOST = 1000


class Refused(Exception):
    """MLflow will never take this entry, however often it is offered."""


class Outbox:
    """One file an entry, named by time; an entry that MLflow refuses is set aside as ``<name>.refused``."""

    def __init__(self, folder: Path, most: int = MOST) -> None:
        self._folder = folder
        self._most = most

    def put(self, entry: Entry) -> None:
        """Make the entry durable; beyond ``most`` the oldest is dropped."""
        # Version 7: later ones sort behind earlier ones.
        files.replace(self._folder / f"{uuid7()}.json", ENTRY.dump_json(entry, fallback=str))
        for suffix in (".json", ".refused"):
            for oldest in self._named(suffix)[: -self._most]:
                log.warning("%d entries wait for mlflow: the oldest is dropped (%s)", self._most, oldest)
                oldest.unlink(missing_ok=True)

    def waiting(self) -> list[Path]:
        """The files of the entries, oldest first."""
        return self._named(".json")

    def drain(self, write: Callable[[str, Entry], None]) -> int:
        """Give every entry to ``write`` with its name, oldest first; how many left the box.

        An entry leaves when ``write`` returns or raises `Refused`; any other exception ends the draining. Returns at
        once while another process drains.
        """
        done = 0
        with self._alone() as alone:
            while alone and (paths := self.waiting()):
                self._hand_over(paths[0], write)
                done += 1
        return done

    def _hand_over(self, path: Path, write: Callable[[str, Entry], None]) -> None:
        try:
            write(path.stem, ENTRY.validate_json(path.read_bytes()))
        except FileNotFoundError:
            if path.exists():
                raise
        except (Refused, ValidationError) as reason:
            aside = path.with_suffix(".refused")
            log.warning("mlflow refuses an entry (to offer it again, rename %s to .json): %s", aside, reason)
            path.rename(aside)
        else:
            path.unlink(missing_ok=True)

    def _named(self, suffix: str) -> list[Path]:
        return sorted(path for path in self._folder.glob(f"*{suffix}") if not path.name.startswith("."))

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
