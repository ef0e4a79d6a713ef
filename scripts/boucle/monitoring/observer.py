"""Who looks: again and again, and only when there is something new to see."""

import logging
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from boucle import files
from boucle.artifacts import Artifacts, ServedVersion
from boucle.config import Project
from boucle.monitoring import windows
from boucle.monitoring.observation import FOLDER, OBSERVATION, Observation
from boucle.monitoring.observe import observe
from boucle.monitoring.windows import Reference
from boucle.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Champion:
    promoted_at: str
    version: ServedVersion
    reference: Reference


class Observer:
    """Makes an observation, keeps it in the store, and writes the rows that it was made of to ``data``/monitoring."""

    def __init__(self, project: Project, data: Path, artifacts: Artifacts, store: Store) -> None:
        self._project = project
        self._data = data
        self._artifacts = artifacts
        self._store = store
        self._champion: _Champion | None = None
        self._seen: object = None

    def look(self, now: datetime) -> Observation | None:
        """The observation if rows came or the champion changed since the last look, or None.

        Raises:
            BoucleError: when there is no champion or no preparation.
        """
        champion = self._current()
        state = (champion.promoted_at, self._store.feedback.rows(), self._store.predictions.last_id())
        if state == self._seen:
            return None
        rows = windows.read_windows(self._store, champion.version.contract, self._project.monitoring.window)
        seen = observe(now, champion.version.version, champion.reference, rows, self._project)
        windows.write(self._data, champion.reference, rows)
        content = seen.model_dump_json()
        files.replace(self._data / FOLDER / OBSERVATION, content.encode())
        self._store.observations.add(seen.point.model_dump_json(), content)
        self._seen = state
        return seen

    def last(self) -> Observation | None:
        """What was seen last, by this process or one before it."""
        found = self._store.observations.newest()
        return Observation.model_validate_json(found.content) if found else None

    def _current(self) -> _Champion:
        pointer = self._artifacts.champion()
        if self._champion is None or self._champion.promoted_at != pointer.promoted_at:
            version = self._artifacts.load_served()
            reference = windows.read_reference(self._data, version, self._project.training.seed)
            self._champion = _Champion(pointer.promoted_at, version, reference)
        return self._champion
