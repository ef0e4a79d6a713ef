"""The Evidently reports on the last look at production, as pages that need no server."""

import sys
from datetime import UTC, datetime
from pathlib import Path

from reporting.settings import Settings
from reporting.window import NotReportable, read_window


def write(data: Path, folder: Path) -> list[Path]:
    """One page a report, named after it.

    Raises:
        NotReportable: when there is no observation yet, or it saw too few rows for a verdict.
    """
    window = read_window(data)
    # Here and not above: it costs twenty seconds, which only a window with a verdict is worth.
    from reporting import reports

    found = reports.snapshots(window, datetime.now(UTC))
    folder.mkdir(parents=True, exist_ok=True)
    pages = [folder / f"{snapshot.get_name().lower().replace(' ', '-')}.html" for snapshot in found]
    for snapshot, page in zip(found, pages, strict=True):
        snapshot.save_html(str(page))
    return pages


def main(folder: Path) -> None:
    """Write the pages and say where; production that carries no verdict yet is no mistake."""
    try:
        pages = write(Settings().data, folder)
    except NotReportable as reason:
        print(f"no reports: {reason}")  # noqa: T201
    else:
        print(*(f"written: {page}" for page in pages), sep="\n")  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
