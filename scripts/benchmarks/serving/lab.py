"""The bench: starts a contender, loads it, and writes down what came out."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from subprocess import SubprocessError

import psutil
import typer

from boucle.errors import BoucleError
from scripts.benchmarks.serving import load, machine
from scripts.benchmarks.serving.contenders import Contender
from scripts.benchmarks.serving.environments import NotInstalled
from scripts.benchmarks.serving.machine import Cores
from scripts.benchmarks.serving.material import Material
from scripts.benchmarks.serving.measurements import Failure, Figures, Measurement, figures_of
from scripts.benchmarks.serving.server import Launch, Request, Server, ServerFailed, running

WARM_UP_SECONDS = 1.0
# The last is how the tests' own support, which the benchmark borrows, says that it waited in vain.
NOT_MEASURED = (
    *(ServerFailed, NotInstalled, BoucleError, psutil.Error),
    *(OSError, HTTPException, SubprocessError, AssertionError),
)


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    rounds: int
    seconds: float
    patience_seconds: float
    models: tuple[str, ...]
    rows: tuple[int, ...]  # of the CSV
    history: tuple[int, ...]
    retraining_rows: int


@dataclass(frozen=True)
class Start:
    """Seconds until the first answer, and the share of the machine that others used meanwhile."""

    seconds: float
    others: float


@dataclass
class Lab:
    """Everything that a scenario needs."""

    material: Material
    contenders: dict[str, Contender]
    cores: Cores
    effort: Effort
    logs: Path
    measurements: list[Measurement] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    _started: float = field(default_factory=time.monotonic)

    @property
    def rounds(self) -> range:
        """The rounds of the interleaved measurements."""
        return range(self.effort.rounds)

    def take_turns(self, names: list[str], number: int) -> list[str]:
        """The names that take part, backwards in every second round: neither is always the first."""
        taking_part = [name for name in names if name in self.contenders]
        return taking_part[::-1] if number % 2 else taking_part

    @contextmanager
    def serving(self, launch: Launch, request: Request, core: int | None) -> Iterator[tuple[Server, Start]]:
        """A server that has answered, and how long that took."""
        with running(launch, self.logs / f"{launch.port}.log", core) as server:
            with machine.watched() as others:
                seconds = server.first_answer(request)
            server.family()
            yield server, Start(seconds, others.share)

    @contextmanager
    def warm(
        self, contender: Contender, model: str, workers: int = 1, core: int | None = None
    ) -> Iterator[tuple[Server, Request]]:
        """A contender with a model, after some seconds of load."""
        request = contender.request(self.material)
        with self.serving(contender.launch(self.material, model, workers), request, core) as (server, _):
            load.saturate(server.launch.url, request, 8, WARM_UP_SECONDS, self.cores.load)
            server.family()
            yield server, request

    def saturate(
        self, place: Measurement, server: Server, request: Request, connections: int, core: int | None
    ) -> Figures:
        """Load the server over so many connections, and write that down."""
        return self.measure(
            place,
            lambda: load.saturate(server.launch.url, request, connections, self.effort.seconds, core),
            server,
        )

    def measure(self, place: Measurement, ask: Callable[[], load.Answers], server: Server) -> Figures:
        """What a load generator sees, and what the server spends on it."""
        machine.settle(self.effort.patience_seconds)
        before = server.cpu_seconds()
        with machine.watched() as others:
            answers = ask()
            spent = server.cpu_seconds() - before
        figures = figures_of(answers, spent)
        self.record(place, figures, others.share)
        return figures

    def record(self, place: Measurement, figures: Figures, others: float) -> None:
        """Keep and show a measurement, made where ``place`` says."""
        done = Measurement(place.scenario, place.contender, place.case, place.round, figures, others)
        self.measurements.append(done)
        shown = ", ".join(f"{name} {value:,.4g}" for name, value in figures.items() if name != "requests")
        mark = "" if done.is_quiet else f"  (others used {others:.0%} of the machine)"
        self.say(f"{done.scenario}, {done.contender}, {done.case}, round {done.round + 1}: {shown}{mark}")

    @contextmanager
    def attempt(self, scenario: str, contender: str) -> Iterator[None]:
        """What fails in the block is written down, and leaves the rest as it is."""
        try:
            yield
        except NOT_MEASURED as error:
            self.failures.append(Failure(scenario, contender, str(error)))
            self.say(f"{scenario}, {contender}: not measured: {error}")

    def say(self, text: str) -> None:
        """Show how far it is."""
        typer.echo(f"[{time.monotonic() - self._started:5.0f} s] {text}")


def place(scenario: str, contender: str, case: str, number: int) -> Measurement:
    """Where a measurement belongs; its figures are still to come."""
    return Measurement(scenario, contender, case, number, {})
