"""What the tests of serving share."""

import pytest
from fastapi.testclient import TestClient

from serving.api import create_app
from serving.settings import Settings


@pytest.fixture
def client(home):
    with TestClient(create_app(Settings(watch_seconds=60), home.places), raise_server_exceptions=False) as client:
        yield client
