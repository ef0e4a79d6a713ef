"""What the tests of several folders share: a trained project, and real processes around it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from uuid_utils import uuid7

from boucle import preparation, training
from boucle.artifacts import Artifacts
from boucle.config import Places, Project, load_project
from boucle.preparation import Preparation
from boucle.retraining import Trainer
from boucle.store import PredictionChunk, PredictionSource, Store, open_store
from boucle.store.chunks import pack, write

ROOT = Path(__file__).parents[1]

PROJECT = """
[project]
name = "Test"

[data]
source = "sklearn:breast_cancer"
target = "diagnosis"

[embedding]
components = 5

[training]
candidates = ["logistic_regression"]
folds = 3

[feedback]
k = 50
"""


# The test runs once with each; `home` keeps its store there.
on_each_database = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)


class NoTracking:
    """A tracker that records nothing."""

    def start(self, name):
        return None

    def record(self, record):
        pass

    def abandon(self, mlflow_run_id):
        pass

    def point(self, champion, previous, reason, actor):
        pass

    def drain(self):
        pass


class Home:
    """A folder with a project, its data and its artifacts; ``database`` is the store's URL if it is not in there."""

    def __init__(self, folder: Path, database: str | None = None) -> None:
        self.folder = folder
        places = {"project": folder / "project.toml", "data": folder / "data", "artifacts": folder / "artifacts"}
        self.places = Places(**places, **({"database_url": database} if database else {}))
        self.prod_data = folder / "data" / "prod_data.csv"

    @property
    def project(self) -> Project:
        return load_project(self.places.project)

    @property
    def preparation(self) -> Preparation:
        return preparation.load(self.places.data)

    @property
    def artifacts(self) -> Artifacts:
        return Artifacts(self.places.artifacts)

    @property
    def store(self) -> Store:
        return open_store(self.places.database, self.places.data, self.project.feedback.k)

    @property
    def trainer(self) -> Trainer:
        return Trainer(self.project, self.places.data, self.artifacts, self.store, NoTracking(), lease_seconds=5)

    def write(self, project: str) -> "Home":
        self.folder.mkdir(parents=True, exist_ok=True)
        self.places.project.write_text(project)
        return self

    def train(self) -> None:
        prepared = preparation.prepare(self.project, self.places.data, lambda _: None)
        training.train(self.project, prepared, self.artifacts, NoTracking(), lambda _: None, actor="test")

    def environment(self, **more: str) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "BOUCLE_PROJECT": str(self.places.project),
            "BOUCLE_DATA": str(self.places.data),
            "BOUCLE_ARTIFACTS": str(self.places.artifacts),
            "BOUCLE_DATABASE_URL": self.places.database,
            **more,
        }


# Below the ephemeral range, where no outgoing connection takes one meanwhile; each is given once.
PORTS = iter(range(20_000 + os.getpid() % 5_000, 32_000))


def free_port() -> int:
    """A port that nobody listens on, and that was not given before."""
    for port in PORTS:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise RuntimeError("no free port")


@contextmanager
def process(arguments: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen]:
    """A real process in a group of its own, ended with the block."""
    with log.open("ab") as output:
        started = subprocess.Popen(
            [sys.executable, *arguments],
            env=environment,
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield started
    finally:
        kill(started, signal.SIGTERM)
        try:
            started.wait(15)
        except subprocess.TimeoutExpired:
            kill(started)
            started.wait(5)


def kill(started: subprocess.Popen, how: int = signal.SIGKILL) -> None:
    """Send a signal to the process and its children."""
    with suppress(ProcessLookupError):
        os.killpg(started.pid, how)


@contextmanager
def serving(home: Home, workers: int = 2, port: int | None = None, **environment: str) -> Iterator[str]:
    """The API as real worker processes; its URL, once it is ready."""
    port = port or free_port()
    settings = {"SERVING_PORT": str(port), "SERVING_WORKERS": str(workers), "SERVING_WATCH_SECONDS": "0.1"}
    with process(["-m", "serving"], home.environment(**settings, **environment), home.folder / "serving.log"):
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: answers(f"{url}/readyz"), f"serving: {home.folder / 'serving.log'}")
        yield url


@contextmanager
def trainer(home: Home) -> Iterator[subprocess.Popen]:
    """The trainer as a real process."""
    code = "import sys; from boucle.cli import main; sys.argv = ['boucle', 'trainer']; main()"
    with process(["-c", code], home.environment(), home.folder / "trainer.log") as started:
        yield started


def answers(url: str) -> bool:
    """Whether a GET of the URL is answered with 200."""
    try:
        return requests.get(url, timeout=2).status_code == 200
    except requests.ConnectionError:
        return False


def wait_for(condition, what: str, seconds: float = 60.0):
    """The first true value of ``condition()``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds:g} s in vain for {what}")


def rows_of(home: Home) -> list[str]:
    """The lines of prod_data.csv behind its header."""
    return home.prod_data.read_text().splitlines()[1:]


def new_id(moment: datetime | None = None) -> str:
    """An identifier as serving gives to a prediction, made now or at ``moment``."""
    moment = moment or datetime.now(UTC)
    milliseconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    return str(uuid7(nanoseconds=1_000_000 * milliseconds))


def predicted(
    version: str = "v1", moment: datetime | None = None, record: dict | None = None, identifier: str = ""
) -> PredictionChunk:
    """One prediction as the log takes it, of class benign, made now or at ``moment``."""
    record = record or {"mean area": 1.0}
    source = PredictionSource(version, "champion", tuple(record), ("benign",))
    row = (identifier or new_id(moment), 0.001, tuple(record.values()), "benign", [1.0])
    return next(pack(source, [write(row)]))
