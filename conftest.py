"""Fixtures that the tests of several folders use."""

import shutil
from pathlib import Path

import pytest

from tests.support import PROJECT, Home


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A project that was prepared and trained once; nobody changes it."""
    home = Home(tmp_path_factory.mktemp("trained")).write(PROJECT)
    home.train()
    return home


@pytest.fixture
def home(trained: Home, tmp_path: Path) -> Home:
    """A copy of the trained project, for one test."""
    return Home(shutil.copytree(trained.folder, tmp_path / "home"))


@pytest.fixture(scope="module")
def shared_home(trained: Home, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A copy of the trained project, for the tests of one file."""
    return Home(shutil.copytree(trained.folder, tmp_path_factory.mktemp("shared") / "home"))
