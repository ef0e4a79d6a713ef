"""Keep one Evidently project up to date with production, and its UI up: ``python -m reporting.project``."""

# mypy: disable-error-code="misc"
# evidently ships no py.typed, so that its classes are Any.

import fcntl
import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from evidently.sdk.models import DashboardModel
from evidently.ui.service.storage.fslocation import FSLocation
from evidently.ui.workspace import Project, Workspace
from pydantic import ValidationError

from reporting import reports, retention
from reporting.dashboard import dashboard
from reporting.settings import Settings
from reporting.ui import start_ui, stop_ui
from reporting.window import FOLDER, OBSERVATION, NotReportable, Window, read_window

log = logging.getLogger("reporting")

PROJECT_NAME = "Boucle"
PROJECT_DESCRIPTION = "Production rows against the reference, as they were last looked at"
REQUEST = "requested"
FORGET_EVERY = timedelta(hours=1)


class WorkspaceLocked(Exception):
    """Another process writes to this workspace."""


class WholeFiles(FSLocation):
    """Evidently's file access, except that a file appears whole or not at all.

    Evidently writes snapshots in place. Its running UI skips a half-written one, but answers 500 to everything when it
    starts over one that a crash left behind.
    """

    # The text or binary file of fsspec; evidently does not type it either.
    @contextmanager
    def open(self, path: str, mode: str = "r") -> Iterator[Any]:
        if "w" not in mode:
            with super().open(path, mode) as file:
                yield file
            return
        target = Path(self._resolve_path(path))
        aside = target.with_name(f"{target.name}.part")
        try:
            with aside.open(mode) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)
        # The UI's observer looks at the old name of a renamed file and skips it. Cutting the file to the length that
        # it has changes nothing, but is a modification in its eyes.
        os.truncate(target, target.stat().st_size)


class Reporter:
    """Writes a set of snapshots into the project whenever there is a new observation, or someone asks for it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._workspace = Workspace(str(settings.workspace))
        self._workspace.state.location = WholeFiles(str(settings.workspace))
        self._project = self._open_project()
        self._retention = retention.Retention(
            self._workspace,
            self._project.id,
            keep=settings.keep,
            keep_days=settings.keep_days,
            keep_plots=settings.keep_plots,
        )
        self._forgot = datetime.min.replace(tzinfo=UTC)
        self._seen: object = None
        self._requested = self._request()
        self._reason = ""
        self._shown: DashboardModel | None = None
        if not self._project.dashboard.model().panels:
            self._workspace.save_dashboard(self._project.id, dashboard(is_quantity=False))

    def is_requested(self) -> bool:
        """Whether someone has asked for reports since they were last written."""
        return self._request() != self._requested

    def refresh(self) -> bool:
        """Write the reports if there is a new observation, or a request; say whether they were written."""
        if datetime.now(UTC) - self._forgot > FORGET_EVERY:  # reports grow old also where nothing new is seen
            self._forget()
        request, state = self._request(), _file_state(self._settings.data / FOLDER / OBSERVATION)
        if (state, request) == (self._seen, self._requested):
            return False
        self._seen, self._requested = state, request
        try:
            self._write(read_window(self._settings.data))
        except NotReportable as reason:
            self._say_once(str(reason))
            return False
        self._reason = ""
        return True

    def _write(self, window: Window) -> None:
        for snapshot in reports.snapshots(window, datetime.now(UTC)):
            retention.write(self._workspace, self._project.id, snapshot)
        self._forget()
        self._show(dashboard(is_quantity=window.is_quantity))
        fields = " ".join(f"{name}={value:.2f}" for name, value in reports.headline(window).items())
        log.info("report written rows=%d labels=%d %s", len(window.served), len(window.labelled), fields)

    def _forget(self) -> None:
        self._forgot = datetime.now(UTC)
        self._retention.forget(self._forgot)

    def _request(self) -> object:
        return _file_state(self._settings.workspace / REQUEST)

    def _say_once(self, reason: str) -> None:
        if reason != self._reason:
            log.info('report skipped reason="%s"', reason)
        self._reason = reason

    def _open_project(self) -> Project:
        found = self._workspace.search_project(PROJECT_NAME)
        return found[0] if found else self._workspace.create_project(PROJECT_NAME, PROJECT_DESCRIPTION)

    def _show(self, wanted: DashboardModel) -> None:
        # Once per process and target: a panel that somebody edits in the browser stays until the next start.
        if wanted != self._shown:
            self._workspace.save_dashboard(self._project.id, wanted)
        self._shown = wanted


def run(settings: Settings) -> int:
    """Serve and refresh until a signal; the exit status."""
    try:
        with only_writer(settings.workspace):
            return _serve_and_refresh(settings)
    except WorkspaceLocked as error:
        log.critical("%s", error)
        return 1


def _serve_and_refresh(settings: Settings) -> int:
    stopping = threading.Event()

    def stop(*_: object) -> None:
        # The flag as well: Evidently catches every exception, this one too, while it calculates.
        stopping.set()
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    reporter = Reporter(settings)
    ui = start_ui(settings.workspace, settings.host, settings.port)
    log.info("ui started url=http://%s:%d workspace=%s", settings.host, settings.port, settings.workspace)
    due = 0.0
    try:
        while not stopping.wait(0.2):
            if ui.poll() is not None:
                log.critical("ui ended exit_status=%d port=%d", ui.returncode, settings.port)
                return 1
            if time.monotonic() >= due or reporter.is_requested():
                due = time.monotonic() + settings.interval_seconds
                _refresh(reporter)
        return 0
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        stop_ui(ui)
        log.info("ui stopped")


def _refresh(reporter: Reporter) -> None:
    try:
        reporter.refresh()
    # Whatever is in the data, the UI stays up with the reports that there are.
    except Exception as error:
        log.warning("report failed error=%r", error)


@contextmanager
def only_writer(workspace: Path) -> Iterator[None]:
    """Hold the workspace; released when this process ends, however it ends.

    Raises:
        WorkspaceLocked: when another process holds it.
    """
    workspace.mkdir(parents=True, exist_ok=True)
    with (workspace / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WorkspaceLocked(f"another process writes to {workspace}; stop it first") from None
        yield


def _file_state(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def main() -> int:
    """The exit status: 0 after a signal, 1 without workspace or UI, 2 for a wrong setting."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # Evidently also takes it within parts of the target's range, and some hold a single row.
    warnings.filterwarnings("ignore", message=r"R\^2 score is not well-defined")
    try:
        settings = Settings()
    except ValidationError as error:
        for problem in error.errors():
            name = problem["loc"][0] if problem["loc"] else "settings"
            log.critical("wrong setting %s=%r: %s", name, problem["input"], problem["msg"])
        return 2
    return run(settings)


if __name__ == "__main__":
    sys.exit(main())
