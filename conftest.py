"""Fixtures that the tests of several folders use."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import postgresql as server
from tests.postgresql import PostgreSQL
from tests.support import PROJECT, Home


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A project that was prepared and trained once; nobody changes it."""
    home = Home(tmp_path_factory.mktemp("trained")).write(PROJECT)
    home.train()
    return home


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A real PostgreSQL server, empty, that runs until the tests end."""
    if server.installed() is None:
        reason = "No PostgreSQL server is installed (Debian: apt-get install postgresql)"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    with server.running() as started:
        yield started


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """URL of an empty database of the kind that `on_each_database` names; None is SQLite in the project's folder."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield None
    else:
        with request.getfixturevalue("postgresql").database() as url:
            yield url


@pytest.fixture
def home(trained: Home, tmp_path: Path, database: str | None) -> Home:
    """A copy of the trained project, for one test."""
    return Home(shutil.copytree(trained.folder, tmp_path / "home"), database)


@pytest.fixture(scope="module")
def shared_home(trained: Home, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A copy of the trained project, for the tests of one file."""
    return Home(shutil.copytree(trained.folder, tmp_path_factory.mktemp("shared") / "home"))
