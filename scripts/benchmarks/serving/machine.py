"""The machine: its cores, what it is made of, and the share of it that others use meanwhile."""

import ctypes
import os
import platform
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil

# Above it a figure is marked: on two cores somebody else had more than a quarter of one of them.
MOST_OTHERS = 0.15
LOOK_SECONDS = 0.5
PR_SET_CHILD_SUBREAPER = 36
LIBRARIES = ("uvicorn", "uvloop", "httptools", "fastapi", "pydantic", "numpy", "scikit-learn")


@dataclass(frozen=True)
class Cores:
    """Where the server and the load generator run; None where one core is all there is."""

    server: int | None
    load: int | None

    @classmethod
    def of_this_machine(cls) -> "Cores":
        """The first two that this process may use."""
        allowed = sorted(os.sched_getaffinity(0))
        return cls(allowed[0], allowed[1]) if len(allowed) > 1 else cls(None, None)


@dataclass
class Others:
    """The share of the machine that processes which are not ours used, from 0 to 1."""

    share: float = 0.0


def adopt_orphans() -> None:
    """Become the parent of every process whose parent ends: what we started stays below us, so that we can end it."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_everything() -> None:
    """End all that this process has started."""
    ours = psutil.Process().children(recursive=True)
    for one in ours:
        one.kill()
    psutil.wait_procs(ours, timeout=10)


@contextmanager
def watched() -> Iterator[Others]:
    """What others use while the block runs."""
    others, before, busy_before, total_before = Others(), _our_seconds(), *_machine_seconds()
    yield others
    busy, total = _machine_seconds()
    ours = sum(seconds - before.get(pid, 0.0) for pid, seconds in _our_seconds().items())
    others.share = share_of_others(busy - busy_before, total - total_before, ours)


def share_of_others(busy: float, total: float, ours: float) -> float:
    """The share of ``total`` seconds of all cores in which they worked, but not for us."""
    return max(0.0, busy - ours) / total if total > 0 else 0.0


def settle(patience_seconds: float) -> None:
    """Wait until others leave the machine alone, but no longer than ``patience_seconds``."""
    deadline = time.monotonic() + patience_seconds
    while time.monotonic() < deadline:
        with watched() as others:
            time.sleep(LOOK_SECONDS)
        if others.share <= MOST_OTHERS:
            return


def description() -> dict[str, str | int]:
    """What the figures were measured on."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "kernel": platform.release(),
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _machine_seconds() -> tuple[float, float]:
    """Seconds in which the cores worked, and all their seconds. What a hypervisor stole counts as work, of others."""
    times = psutil.cpu_times()
    total = sum((times.user, times.nice, times.system, times.idle, times.iowait, times.irq, times.softirq, times.steal))
    return total - times.idle - times.iowait, total


def _our_seconds() -> dict[int, float]:
    """CPU seconds of each process below this one, of this one, and under 0 of those that ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = {0: ended.ru_utime + ended.ru_stime}
    this = psutil.Process()
    for one in (this, *this.children(recursive=True)):
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        seconds[one.pid] = times.user + times.system
    return seconds
