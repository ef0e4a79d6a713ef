"""Load as fast as the server answers: wrk, on a core of its own."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmarks.serving.server import Request, ServerFailed

SCRIPT = Path(__file__).with_name("post.lua")
TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Answers:
    """What a load generator saw. Latencies in milliseconds."""

    requests: int
    seconds: float
    p50: float
    p99: float
    errors: int

    @property
    def per_second(self) -> float:
        """Answers in a second of the clock."""
        return self.requests / self.seconds if self.seconds else 0.0


def installed() -> bool:
    """Whether there is a wrk to run."""
    return shutil.which("wrk") is not None


def saturate(url: str, request: Request, connections: int, seconds: float, core: int | None) -> Answers:
    """Ask over so many connections, each as soon as its last answer is there.

    Raises:
        ServerFailed: when nothing was answered.
    """
    pinned = [] if core is None else ["taskset", "--cpu-list", str(core)]
    command = [*pinned, "wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{round(seconds)}s"]
    command += ["--timeout", f"{TIMEOUT_SECONDS}s", "--script", str(SCRIPT), url + request.path]
    command += ["--", str(request.file), request.media_type]
    longest = seconds + 2 * TIMEOUT_SECONDS
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=longest)  # noqa: S603  # no shell
    return parse(done.stdout + done.stderr)


def parse(output: str) -> Answers:
    """The figures of wrk's last line; an answer that is no success is an error.

    Raises:
        ServerFailed: when there are none.
    """
    line = output.strip().splitlines()[-1] if output.strip() else ""
    if not line.startswith("{"):
        raise ServerFailed(f"wrk says: {line or 'nothing'}")
    figures = json.loads(line)
    if not figures["requests"]:
        raise ServerFailed(f"no request was answered: {line}")
    return Answers(
        requests=figures["requests"],
        seconds=figures["microseconds"] / 1e6,
        p50=figures["p50"] / 1e3,
        p99=figures["p99"] / 1e3,
        errors=figures["refused"] + figures["broken"],
    )
