"""Looks at production in a thread of its own, so that a scrape only reads what was seen last."""

import logging
import threading
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sqlalchemy.exc import SQLAlchemyError

from boucle.artifacts import Artifacts
from boucle.errors import BoucleError, CorruptArtifact, ModelNotFound
from boucle.monitoring.observation import Observation
from boucle.monitoring.observer import Observer

log = logging.getLogger(__name__)

VERIFY_SECONDS = 60.0


@dataclass(frozen=True)
class Seen:
    """What was seen last: it holds as long as nothing came since; ``at`` is on the monotonic clock."""

    observation: Observation | None = None
    at: float | None = None
    is_intact: bool | None = None

    @property
    def age_seconds(self) -> float | None:
        """Time since the last look that succeeded, also if there was nothing new."""
        return None if self.at is None else time.monotonic() - self.at


class Watch:
    """Looks every ``interval_seconds`` until it is stopped."""

    def __init__(self, observer: Observer, artifacts: Artifacts, interval_seconds: float) -> None:
        self.last = Seen()
        self._observer = observer
        self._artifacts = artifacts
        self._interval_seconds = interval_seconds
        self._verified_at = 0.0
        self._complaint = ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """A look under way is not waited for: the next process takes it again."""
        self._stopping.set()

    def look(self) -> None:
        """Look once; a source that is away is tried again."""
        is_due = time.monotonic() - self._verified_at > VERIFY_SECONDS or not self.last.is_intact
        try:
            observation = self._observer.look(datetime.now(UTC))
        except (SQLAlchemyError, BoucleError, OSError) as error:
            self._say_once(f"no observation: {error}")
            is_due = True
        else:
            self._complaint = ""
            self.last = replace(self.last, at=time.monotonic(), observation=observation or self.last.observation)
        if is_due:
            self.verify()

    def verify(self) -> None:
        """Compare the champion's files with what its manifest promises."""
        self._verified_at = time.monotonic()
        self.last = replace(self.last, is_intact=self._is_intact())

    def _run(self) -> None:
        while True:
            try:
                self.look()
            except Exception:  # odd data must not end all monitoring; the observation's age tells of it
                log.exception("a look failed; the next one is in %g seconds", self._interval_seconds)
            if self._stopping.wait(self._interval_seconds):
                return

    def _is_intact(self) -> bool:
        try:
            self._artifacts.verify_champion()
        except (ModelNotFound, CorruptArtifact) as damage:
            self._say_once(str(damage))
            return False
        return True

    def _say_once(self, complaint: str) -> None:
        if complaint != self._complaint:
            log.warning("%s", complaint)
        self._complaint = complaint
