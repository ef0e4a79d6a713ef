"""The tracker: what happened is first written to the outbox, then to MLflow when MLflow answers."""

import logging
import os
import subprocess
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from boucle.artifacts import Artifacts
from boucle.tracking.entries import Abandonment, Entry, Pointing, Record
from boucle.tracking.outbox import Outbox

if TYPE_CHECKING:
    from boucle.tracking.writer import Writer

log = logging.getLogger(__name__)

SETTINGS = {
    # Read by mlflow at import: by default its client waits four minutes for a server that is down.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
COMMIT_TAG = "mlflow.source.git.commit"


class Tracker(Protocol):
    """Where training is recorded. No method raises; a server that is down costs a second, a silent one ten."""

    def start(self, name: str) -> str | None:
        """Begin a run; its identifier, or None when MLflow is away."""

    def record(self, record: Record) -> None:
        """Write down how a training ended."""

    def abandon(self, mlflow_run_id: str) -> None:
        """End a run whose trainer died."""

    def point(self, champion: str, previous: str | None, reason: str, actor: str) -> None:
        """Let the aliases follow a promotion or rollback that no training stands behind."""

    def drain(self) -> None:
        """Write to MLflow whatever waits for it; free when nothing does."""


class MLflowTracker:
    """Records to an MLflow tracking URI, a server or the embedded SQLite file, by way of ``data/mlflow/outbox``.

    The tables and plots of each record are also left in ``plots``, if that is given.
    """

    def __init__(self, uri: str, project: str, data: Path, artifacts: Artifacts, plots: Path | None = None) -> None:
        self._plots = plots
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        # Set by `mlflow run`, which began a run for us. Taken away, or mlflow would apply it to later runs as well.
        self._begun = os.environ.pop("MLFLOW_RUN_ID", None)
        self._uri = uri
        self._project = project
        self._folder = data / "mlflow"
        self._artifacts = artifacts
        self._outbox = Outbox(self._folder / "outbox")
        self._away = False

    def start(self, name: str) -> str | None:
        begun, self._begun = self._begun, None
        try:
            return self._writer.start(name, begun)
        except Exception as error:  # whatever MLflow, its database or the network raise: the run goes on without it
            self._say_away(error)
            return None

    def record(self, record: Record) -> None:
        commit = {COMMIT_TAG: self._commit} if self._commit else {}
        self._put(record.model_copy(update={"tags": {**commit, **record.tags}}))
        if self._plots is not None:
            self._show(record, self._plots)

    def abandon(self, mlflow_run_id: str) -> None:
        self._put(Abandonment(mlflow_run_id=mlflow_run_id))

    def point(self, champion: str, previous: str | None, reason: str, actor: str) -> None:
        self._put(Pointing(champion=champion, previous=previous, reason=reason, actor=actor))

    def drain(self) -> None:
        if not self._outbox.waiting():
            return
        try:
            written = self._outbox.drain(self._writer.write)
        except Exception as error:  # as above; what was not written waits
            self._say_away(error)
        else:
            if self._away and written:
                log.info("mlflow answers again: %d entries written", written)
                self._away = False

    def _put(self, entry: Entry) -> None:
        try:
            self._outbox.put(entry)
        except OSError as error:
            log.warning("mlflow will not hear of a %s, for it could not be kept: %s", entry.kind, error)
        self.drain()

    @staticmethod
    def _show(record: Record, folder: Path) -> None:
        from boucle.tracking import tables

        try:
            tables.write(record, folder)
        except OSError as error:
            log.warning("no plots in %s: %s", folder, error)

    @cached_property
    def _writer(self) -> "Writer":
        # matplotlib tells of every font cache that it builds, while it is imported.
        logging.getLogger("matplotlib").setLevel(logging.WARNING)
        # Here and not above: the import takes seconds, which nothing but a tracker should cost.
        from boucle.tracking.writer import Writer

        return Writer(self._uri, self._project, self._folder, self._artifacts)

    @cached_property
    def _commit(self) -> str | None:
        """The commit that this process runs: an image says it, a checkout knows it."""
        if given := os.environ.get("BOUCLE_GIT_COMMIT"):
            return given
        try:
            git = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)  # noqa: S607
        except (OSError, subprocess.SubprocessError):
            return None
        return git.stdout.strip()

    def _say_away(self, error: Exception) -> None:
        # Once an outage, or a trainer that tries every second would say nothing else.
        level = logging.DEBUG if self._away else logging.WARNING
        reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        log.log(level, "mlflow does not answer at %s; %d entries wait: %s", self._uri, self._waiting, reason)
        self._away = True

    @property
    def _waiting(self) -> int:
        return len(self._outbox.waiting())
