"""Asking for a report: a file that the reporting service looks for, wherever `data` is mounted."""

import time
from datetime import UTC, datetime
from pathlib import Path

from boucle import files
from boucle.errors import NotReported
from boucle.monitoring.observation import FEWEST_ROWS, FOLDER, OBSERVATION, Observation

REPORTS = "reports"
REQUEST = "requested"


def check_reportable(data: Path) -> None:
    """Nothing, if the last look at production is one to report on.

    Raises:
        NotReported: when there was none yet, or it saw too few rows for a verdict.
    """
    try:
        last = Observation.model_validate_json((data / FOLDER / OBSERVATION).read_bytes())
    except FileNotFoundError:
        raise NotReported("production was not looked at yet: start the stack with make run, or make up") from None
    if last.drift is None:
        raise NotReported(
            f"{last.served.rows} predictions are too few for a report: make {FEWEST_ROWS}; ten seconds later they count"
        )


def request_report(data: Path) -> datetime:
    """Ask the reporting service for reports on what was last looked at; when it was asked."""
    moment = datetime.now(UTC)
    files.replace(data / REPORTS / REQUEST, moment.isoformat(timespec="milliseconds").encode())
    return moment


def last_report(data: Path) -> datetime | None:
    """When the newest report was written."""
    written = [path.stat().st_mtime for path in (data / REPORTS).glob("*/snapshots/*.json")]
    return datetime.fromtimestamp(max(written), UTC) if written else None


def wait_for_report(data: Path, asked: datetime, seconds: float) -> None:
    """Return when there is a report that was written after ``asked``.

    Raises:
        NotReported: when none came in time.
    """
    deadline = time.monotonic() + seconds
    while (last_report(data) or asked) <= asked:
        if time.monotonic() > deadline:
            raise NotReported(f"no report came within {seconds:g} seconds: does the reporting service run?")
        time.sleep(0.2)
