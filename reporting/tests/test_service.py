"""The real process: the UI over HTTP, one writer, and a clean end."""

# mypy: disable-error-code="import-untyped"

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from reporting.project import main, run
from reporting.settings import Settings
from reporting.tests.frames import made_up, write

PATIENCE_SECONDS = 40


class Service:
    """``python -m reporting.project`` on a free port."""

    def __init__(self, data: Path) -> None:
        self.port = free_port()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "reporting.project"],
            env={
                **os.environ,
                "BOUCLE_DATA": str(data),
                "BOUCLE_REPORTING_INTERVAL_SECONDS": "0.5",
                "REPORTING_PORT": str(self.port),
                "PYTHONPATH": str(Path.cwd()),
            },
            stderr=subprocess.PIPE,
            text=True,
        )

    def get(self, path: str) -> Any:  # JSON
        return requests.get(f"http://127.0.0.1:{self.port}{path}", timeout=5).json()

    def answers(self) -> bool:
        try:
            return bool(self.get("/api/version"))
        except requests.ConnectionError:
            return False

    def snapshots(self) -> list[dict[str, Any]]:
        (project,) = self.get("/api/projects")
        found: list[dict[str, Any]] = self.get(f"/api/projects/{project['id']}/snapshots")
        return found

    def ui(self) -> psutil.Process:
        wait_until(lambda: bool(psutil.Process(self.process.pid).children()))
        (child,) = psutil.Process(self.process.pid).children()
        return child

    def end(self) -> str:
        return self.process.communicate(timeout=5)[1]


def free_port() -> int:
    """Below the ephemeral range, so that no outgoing connection takes it meanwhile."""
    for port in range(20000 + os.getpid() % 5000, 32768):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    raise AssertionError("no free port")


def wait_until(claim: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not claim():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)


@pytest.fixture
def service(data: Path) -> Iterator[Service]:
    started = Service(data)
    try:
        yield started
    finally:
        started.process.kill()
        started.process.wait()


def test_the_ui_lists_every_snapshot_and_a_second_writer_is_refused_and_sigterm_leaves_nothing(
    service: Service, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One process for four claims: it takes some seconds to start."""
    wait_until(service.answers)
    wait_until(lambda: len(service.snapshots()) == 3)
    assert {snapshot["tags"][0] for snapshot in service.snapshots()} == {"drift", "quality", "classification"}

    write(data, made_up(300, shift=1))
    wait_until(lambda: len(service.snapshots()) == 6)

    assert run(Settings(data=data)) == 1
    assert caplog.messages == [f"another process writes to {data}/reports; stop it first"]

    ui = service.ui()
    service.process.terminate()
    log = service.end()
    assert service.process.returncode == 0
    assert not ui.is_running()
    assert "report written rows=300 labels=300 drifted=0.80" in log
    assert "Traceback" not in log


def test_the_process_fails_when_its_ui_dies(service: Service) -> None:
    service.ui().kill()

    log = service.end()

    assert service.process.returncode == 1
    assert f"ui ended exit_status={-signal.SIGKILL} port={service.port}" in log


def test_the_ui_does_not_outlive_a_killed_process(service: Service) -> None:
    ui = service.ui()

    service.process.kill()

    ui.wait(PATIENCE_SECONDS)


def test_a_wrong_setting_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("REPORTING_PORT", "80820")

    assert main() == 2
    assert caplog.messages == ["wrong setting REPORTING_PORT='80820': Input should be less than or equal to 65535"]
