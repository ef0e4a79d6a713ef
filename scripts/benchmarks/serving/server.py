"""A contender's processes: started, asked, weighed, and ended with the block."""

import http.client
import os
import re
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

MARK = "BOUCLE_BENCH_SERVER"
START_SECONDS = 180.0
STOP_SECONDS = 10.0
MEGABYTE = 1e6
LOG_TAIL = 300


class ServerFailed(Exception):
    """It did not start, or ended, or did not answer; the message says which."""


@dataclass(frozen=True)
class Request:
    """A POST: its path, and its body as a file, as wrk reads it."""

    path: str
    file: Path
    media_type: str = "application/json"


@dataclass(frozen=True)
class Launch:
    """How to start a server."""

    command: list[str]
    port: int
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True)
class Memory:
    """Megabytes of the process that does the work, and of all."""

    worker_rss: float
    worker_pss: float
    all_rss: float
    all_pss: float
    processes: int


class Server:
    """The processes of one launch.

    They are those below the first one and those with our mark in their environment: some servers detach their
    processes, others write their title over their environment.
    """

    def __init__(self, launch: Launch, log: Path, core: int | None) -> None:
        self.launch = launch
        self._log = log
        self._core = core
        self._mark = uuid.uuid4().hex
        self._family: dict[int, psutil.Process] = {}

    def start(self) -> None:
        """Start the first process."""
        pinned = [] if self._core is None else ["taskset", "--cpu-list", str(self._core)]
        # Who is not allowed to keep its bytecode compiles everything at every start.
        environment = {**os.environ, **self.launch.environment, MARK: self._mark}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        with self._log.open("wb") as output:
            self._started_at = time.perf_counter()
            self._first = subprocess.Popen(  # noqa: S603  # no shell; our own words
                [*pinned, *self.launch.command],
                env=environment,
                cwd=self.launch.folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def first_answer(self, request: Request) -> float:
        """Seconds from the start to the first answer of 200.

        Raises:
            ServerFailed: when it ends before, or takes longer than anyone waits.
        """
        body, said = request.file.read_bytes(), ""
        while time.perf_counter() - self._started_at < START_SECONDS:
            if self._first.poll() is not None:
                raise ServerFailed(f"ended with {self._first.returncode}: {self.last_words()}")
            with suppress(OSError, http.client.HTTPException):
                status, said = self.post(request.path, body, request.media_type)
                if status == 200:
                    return time.perf_counter() - self._started_at
            time.sleep(0.01)
        raise ServerFailed(f"gave no answer of 200 in {START_SECONDS:g} s: {said or self.last_words()}")

    def post(self, path: str, body: bytes = b"", media_type: str = "application/json") -> tuple[int, str]:
        """Status and beginning of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.launch.port, timeout=60)
        try:
            connection.request("POST", path, body, {"Content-Type": media_type})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")[:LOG_TAIL]
        finally:
            connection.close()

    def family(self) -> list[psutil.Process]:
        """Its processes that live, this moment."""
        with suppress(psutil.NoSuchProcess):
            first = psutil.Process(self._first.pid)
            self._remember(first, *first.children(recursive=True))
        self._remember(*(one for one in psutil.process_iter() if self._is_marked(one)))
        return [one for one in self._family.values() if _lives(one)]

    def cpu_seconds(self) -> float:
        """What the known processes have used; call `family` when new ones may have joined."""
        return sum(_read(one, lambda one: sum(one.cpu_times()[:2])) for one in self._family.values())

    def memory(self) -> Memory:
        """What its processes hold now; the worker is the one that has worked most."""
        looks = [(_read(one, lambda one: sum(one.cpu_times()[:2])), *rss_and_pss(one.pid)) for one in self.family()]
        _, worker_rss, worker_pss = max(looks)
        return Memory(
            worker_rss, worker_pss, sum(look[1] for look in looks), sum(look[2] for look in looks), len(looks)
        )

    def peak_rss(self) -> float:
        """Megabytes: the most that each of its processes has held so far, added up."""
        return sum(_kilobytes(Path(f"/proc/{one.pid}/status"), "VmHWM") for one in self.family()) * 1024 / MEGABYTE

    def stop(self) -> None:
        """Ask every process to end, then end it."""
        family = self.family()
        with suppress(ProcessLookupError):
            os.killpg(self._first.pid, signal.SIGTERM)
        psutil.wait_procs(family, timeout=STOP_SECONDS)
        left = self.family()
        for one in left:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(left, timeout=STOP_SECONDS)
        self._first.wait(STOP_SECONDS)

    def last_words(self) -> str:
        """The end of its log, in one line."""
        return " ".join(self._log.read_text(errors="replace").split())[-LOG_TAIL:]

    def _remember(self, *processes: psutil.Process) -> None:
        for one in processes:
            self._family.setdefault(one.pid, one)

    def _is_marked(self, one: psutil.Process) -> bool:
        try:
            return one.pid not in self._family and one.environ().get(MARK) == self._mark
        except psutil.Error:
            return False


@contextmanager
def running(launch: Launch, log: Path, core: int | None = None) -> Iterator[Server]:
    """The server of a launch, started; ended with the block."""
    server = Server(launch, log, core)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def rss_and_pss(pid: int) -> tuple[float, float]:
    """Megabytes that a process maps, and its part of them where several share a page."""
    rollup = Path(f"/proc/{pid}/smaps_rollup")
    return _kilobytes(rollup, "Rss") * 1024 / MEGABYTE, _kilobytes(rollup, "Pss") * 1024 / MEGABYTE


def _kilobytes(file: Path, name: str) -> int:
    try:
        found = re.search(rf"^{name}:\s+(\d+) kB", file.read_text(), re.MULTILINE)
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return 0
    return int(found[1]) if found else 0


def _lives(one: psutil.Process) -> bool:
    try:
        return one.is_running() and one.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _read(one: psutil.Process, figure: Callable[[psutil.Process], float]) -> float:
    try:
        return figure(one)
    except psutil.NoSuchProcess:
        return 0.0
