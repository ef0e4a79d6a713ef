"""Asking for a report: a file that the reporting service looks for, wherever `data` is mounted."""

from datetime import UTC, datetime
from pathlib import Path

from boucle import files

REQUEST = Path("reports") / "requested"


def request_report(data: Path) -> str:
    """Ask the reporting service for reports on the rows there are now; when it was asked, in UTC."""
    moment = datetime.now(UTC).isoformat(timespec="milliseconds")
    files.replace(data / REQUEST, moment.encode())
    return moment
