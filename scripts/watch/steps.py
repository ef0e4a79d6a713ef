"""Which steps a change of files asks for."""

import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

PARTS = ("scripts", "serving", "webapp", "reporting", "monitoring/exporter", "monitoring")
LEFT_OUT = ("data", "artifacts", "screenshots", "bench", "backtest", "mlruns", "dist", "secrets")
DOCKER = ("Dockerfile", "docker-compose.yml", "compose.base.yml", ".dockerignore", ".env.example")
PYTEST = ("pytest", "-q", "-x")


@dataclass(frozen=True)
class Step:
    """One command; ``name`` is what a notification calls it."""

    name: str
    command: tuple[str, ...]


CHECKS = (
    Step("format", ("ruff", "format", "--check", ".")),
    Step("lint", ("ruff", "check", ".")),
    Step("types", ("mypy",)),
    Step("imports", ("lint-imports",)),
)
LOCK = Step("lock", ("uv", "lock", "--check"))
COMPOSE = Step("compose", ("scripts/check-compose.sh",))
DASHBOARDS = Step("dashboards", (sys.executable, "-m", "scripts.dashboards", "--check"))
PREPARE = Step("prepare", ("boucle", "prepare", "--if-changed"))
TRAIN = Step("train", ("boucle", "train", "--if-changed"))
REPORT = Step("drift report", ("boucle", "report"))
# The order in which they run: what is quick and what others build on comes first, and tests have no order of their own.
ORDER = (*CHECKS, LOCK, COMPOSE, DASHBOARDS, PREPARE, TRAIN, REPORT)


def steps_for(changed: Iterable[Path], root: Path, source: Path | None, *, is_reporting: bool) -> list[Step]:
    """The steps that absolute paths of files under ``root``, and the project's ``source``, ask for, in order.

    ``is_reporting``: somebody is there to write the drift report.
    """
    wanted: set[Step] = set()
    for path in changed:
        if source is not None and path == source:
            wanted |= {PREPARE, REPORT} if is_reporting else {PREPARE}
        elif path.is_relative_to(root):
            wanted |= _steps(PurePosixPath(path.relative_to(root).as_posix()))
    return in_order(wanted)


def in_order(wanted: Collection[Step]) -> list[Step]:
    """The steps in the order in which they run; tests stand behind the checks."""
    tests = sorted((step for step in wanted if step not in ORDER), key=lambda step: step.name)
    before = [step for step in ORDER if step in wanted and step in CHECKS]
    behind = [step for step in ORDER if step in wanted and step not in CHECKS]
    return [*before, *tests, *behind]


def _steps(path: PurePosixPath) -> set[Step]:
    if not path.parts or path.parts[0] in LEFT_OUT or any(part.startswith(".") for part in path.parts[:-1]):
        return set()
    if path.name in DOCKER:
        return {COMPOSE, _tests("tests/test_compose_files.py")}
    if path.suffix == ".py":
        dashboards = {DASHBOARDS} if path.parts[:2] == ("scripts", "dashboards") else set()
        return {*CHECKS, *dashboards, _tests(_tests_of(path))}
    if path.suffix == ".ipynb":
        return {_tests("scripts/tests/test_notebooks.py")}
    if path.suffix == ".md":
        return {_tests("tests/test_layout.py")}
    if path.name in ("pyproject.toml", "uv.lock"):
        return {LOCK, *CHECKS}
    return {TRAIN} if path == PurePosixPath("project.toml") else set()


def _tests_of(path: PurePosixPath) -> str:
    """The tests that the code is tested by: a test itself, or those of its folder."""
    if path.name.startswith("test_"):
        return str(path)
    return next((f"{part}/tests" for part in PARTS if path.is_relative_to(part)), "tests")


def _tests(where: str) -> Step:
    return Step(f"tests of {where}", (*PYTEST, where))
