"""Fixtures: a data folder and the settings for it."""

from pathlib import Path

import pytest

from reporting.settings import Settings
from reporting.tests.frames import production_rows, reference_rows, write


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder that holds a reference and enough production rows."""
    write(tmp_path, reference_rows(), production_rows())
    return tmp_path


@pytest.fixture
def settings(data: Path) -> Settings:
    return Settings(data=data)
