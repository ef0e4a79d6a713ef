"""What it costs to see: a look, a scrape and a report on a long history; Evidently's list with a thousand reports.

Run by `make bench-monitoring`. The limits are those that docs/performance.md names.
"""

import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psutil
import requests
import typer
from playwright.sync_api import sync_playwright
from uuid_utils import uuid7

from boucle.demo import draw
from boucle.monitoring.observer import Observer
from boucle.monitoring.reports import last_report, request_report, wait_for_report
from boucle.store import Feedback, PredictionSource
from boucle.store.chunks import pack, write
from reporting.retention import take_plots_out
from scripts.benchmarks.loop import grow
from tests.support import PROJECT, Home, answers, free_port, process, wait_for

SHORT, LONG, REPORTS = 1_000, 1_000_000, 1_000
NEWEST = 2_000  # rows that differ from one another, at the end of the history
SCRAPES = 40


def main(rows: int = LONG, reports: int = REPORTS) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home").write(PROJECT.replace("k = 50", "k = 0"))
        home.train()
        for count in (SHORT, rows):
            typer.echo(f"\ngrowing the history to {count:,} rows …")
            grow(home, count)
            _add_newest(home)
            _look(home)
            _scrape(home)
        _reports(home, reports)


def _add_newest(home: Home) -> None:
    """Rows as they come, logged and labelled; half of them from a population that moved."""
    champion, store, random = home.artifacts.load_champion(), home.store, np.random.default_rng(0)
    store.feedback.use(champion.embedding)
    source = PredictionSource("v1", "champion", champion.contract.names, champion.contract.target.classes)
    for shift in (0.0, 0.15):
        records, labels = draw(home.preparation, NEWEST // 2, shift, random)
        outputs = champion.outputs(records)
        given = [champion.contract.target.decode(output) for output in outputs.tolist()]
        identifiers = [str(uuid7()) for _ in records]
        written = [
            write((identifier, 1e-5, tuple(record.values()), answer, output))
            for identifier, record, answer, output in zip(identifiers, records, given, outputs.tolist(), strict=True)
        ]
        store.predictions.add(list(pack(source, written)))
        vectors = champion.embedding.vectors(records)
        rows = zip(identifiers, records, vectors, labels, given, strict=True)
        store.feedback.add([Feedback(*row, model_version="v1") for row in rows], champion.embedding.id)


def _look(home: Home) -> None:
    observer = Observer(home.project, home.places.data, home.artifacts, home.store)
    started = time.perf_counter()
    observer.look(datetime.now(UTC))
    typer.echo(f"  first look        {time.perf_counter() - started:8.2f} s")


def _scrape(home: Home) -> None:
    port = free_port()
    environment = home.environment(EXPORTER_PORT=str(port), EXPORTER_INTERVAL_SECONDS="0.5")
    with process(["-m", "monitoring.exporter"], environment, home.folder / "exporter.log") as exporter:
        url = f"http://127.0.0.1:{port}/metrics"
        wait_for(lambda: answers(url) and "boucle_drift_size" in requests.get(url, timeout=10).text, "an observation")
        times = [1000 * _seconds(lambda: requests.get(url, timeout=10).raise_for_status()) for _ in range(SCRAPES)]
        memory = psutil.Process(exporter.pid).memory_info().rss / 1e6
    typer.echo(
        f"  scrape            {np.median(times):8.1f} ms at the median, {max(times):.1f} at most; {memory:.0f} MB"
    )


def _reports(home: Home, count: int) -> None:
    port = free_port()
    settings = {
        "REPORTING_PORT": str(port),
        "BOUCLE_REPORTING_INTERVAL_SECONDS": "1",
        "BOUCLE_REPORTING_KEEP": str(count + 100),
    }
    with process(["-m", "reporting.project"], home.environment(**settings), home.folder / "reporting.log") as service:
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: answers(f"{url}/api/version"), "Evidently's UI")
        wait_for(lambda: last_report(home.places.data), "the first report")
        seconds = _seconds(lambda: _report(home))
        typer.echo(f"  a report          {seconds:8.1f} s, {_peak(service):.0f} MB at its peak")
        project = requests.get(f"{url}/api/projects", timeout=30).json()[0]["id"]
        snapshots = home.places.data / "reports" / project / "snapshots"
        _multiply(snapshots, count)
        listed = f"{url}/api/projects/{project}/snapshots"
        wait_for(lambda: len(requests.get(listed, timeout=60).json()) >= count, f"{count} reports", 600)
        time.sleep(10)  # it still reads them
        times = [_seconds(lambda: requests.get(listed, timeout=60).raise_for_status()) for _ in range(10)]
        memory = sum(child.memory_info().rss for child in psutil.Process(service.pid).children()) / 1e6
        median, most = 1000 * np.median(times), 1000 * max(times)
        typer.echo(f"  list of {count:,}     {median:8.0f} ms at the median, {most:.0f} at most; UI {memory:.0f} MB")
        _browse(f"{url}/projects/{project}/reports", count)


def _browse(url: str, count: int) -> None:
    """How long the page takes in a browser until its table is there."""
    with sync_playwright() as driver:
        page = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"]).new_page()
        page.goto(url)
        wanted = page.get_by_text("Data drift").first
        wanted.wait_for()
        started = time.perf_counter()
        page.reload()
        wanted.wait_for()
        typer.echo(f"  page of {count:,}     {1000 * (time.perf_counter() - started):8.0f} ms in a browser, reloaded")


def _report(home: Home) -> None:
    wait_for_report(home.places.data, request_report(home.places.data), 120)


def _multiply(snapshots: Path, count: int) -> None:
    """Copies of the reports that there are, under new names, the plots left out as those of old ones are."""
    originals = [json.loads(path.read_bytes()) for path in snapshots.glob("*.json")]
    for original in originals:
        take_plots_out(original)
    for number in range(count):
        # In place, and not renamed: the UI's observer overlooks a file that was.
        (snapshots / f"{uuid7()}.json").write_text(json.dumps(originals[number % len(originals)]))


def _peak(service: "subprocess.Popen[bytes]") -> float:
    status = Path(f"/proc/{service.pid}/status").read_text()
    return float(status.partition("VmHWM:")[2].split()[0]) / 1e3


def _seconds(do: Callable[[], object]) -> float:
    started = time.perf_counter()
    do()
    return time.perf_counter() - started


if __name__ == "__main__":
    typer.run(main)
