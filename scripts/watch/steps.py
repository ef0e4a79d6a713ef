"""Which steps a change of files asks for."""

import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any

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
ETL = Step("etl", ("boucle", "etl"))
PREPARE = Step("prepare", ("boucle", "prepare", "--if-changed"))
TRAIN = Step("train", ("boucle", "train", "--if-changed"))
REPORT = Step("drift report", ("boucle", "report"))
# The order in which they run: what is quick and what others build on comes first, and tests have no order of their own.
ORDER = (*CHECKS, LOCK, COMPOSE, DASHBOARDS, ETL, PREPARE, TRAIN, REPORT)


@dataclass(frozen=True)
class Data:
    """What project.toml reads: its ``source`` if that is a file, and the patterns of what `boucle etl` ``collects``."""

    source: Path | None = None
    collects: tuple[str, ...] = ()

    def flat(self) -> set[Path]:
        """Folders in which a file counts."""
        fixed = {_fixed(pattern) for pattern in self.collects} - self.deep()
        return fixed | ({self.source.parent} if self.source else set())

    def deep(self) -> set[Path]:
        """Folders in which a file counts however deep it lies."""
        return {_fixed(pattern) for pattern in self.collects if Path(pattern).parent != _fixed(pattern)}


def data_of(project: Mapping[str, Any], root: Path) -> Data:
    """What the content of project.toml reads; what is wrong with it the commands will say."""
    data, etl = (part if isinstance(part := project.get(name), dict) else {} for name in ("data", "etl"))
    source = str(data.get("source", ""))
    sources = [one for one in etl.get("sources", ()) if isinstance(one, dict) and one.get("kind") == "files"]
    is_file = Path(source).suffix and ":" not in source
    return Data(
        (root / source).resolve() if is_file else None, tuple(str(root / str(one.get("path"))) for one in sources)
    )


def steps_for(changed: Iterable[Path], root: Path, data: Data, *, is_reporting: bool) -> list[Step]:
    """The steps that absolute paths of files under ``root``, and of the project's ``data``, ask for, in order.

    ``is_reporting``: somebody is there to write the drift report.
    """
    wanted: set[Step] = set()
    for path in changed:
        if path == data.source:
            wanted |= {PREPARE, REPORT} if is_reporting else {PREPARE}
        elif any(fnmatch(str(path), pattern) for pattern in data.collects):
            wanted |= {ETL, PREPARE, REPORT} if is_reporting else {ETL, PREPARE}
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


def _fixed(pattern: str) -> Path:
    """The deepest folder that holds all that the pattern matches."""
    parts = Path(pattern).parts[:-1]
    return Path(*takewhile(lambda part: not any(sign in part for sign in "*?["), parts))
