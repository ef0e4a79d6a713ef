"""Fixtures: a data folder and the settings for it."""

from pathlib import Path

import pytest

from reporting.settings import Settings
from reporting.tests.frames import write


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder in which the observer has looked at enough production rows."""
    write(tmp_path)
    return tmp_path


@pytest.fixture
def settings(data: Path) -> Settings:
    return Settings(data=data)
