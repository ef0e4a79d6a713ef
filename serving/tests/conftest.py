"""What the tests of serving share."""

import json

import pytest
from fastapi.testclient import TestClient

from serving import hot, hot_feedback
from serving.api import create_app
from serving.settings import Settings
from tests.connection import Connection, listening


@pytest.fixture
def client(home):
    with TestClient(create_app(Settings(watch_seconds=60), home.places), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def app(home):
    return create_app(Settings(watch_seconds=60), home.places)


@pytest.fixture
def tasks(monkeypatch):
    """The requests that a fast path got as an ASGI application."""
    seen = []

    def noting(ask):
        async def note(self, scope, receive, send):
            seen.append(scope["path"])
            await ask(self, scope, receive, send)

        return note

    for path in (hot.HotPath, hot_feedback.HotFeedback):
        monkeypatch.setattr(path, "__call__", noting(path.__call__))
    return seen


@pytest.fixture
def connection(app, tasks):
    with listening(app) as port:
        connection = Connection(port)
        yield connection
        connection.close()


@pytest.fixture
def body(home):
    return json.dumps(home.preparation.test_records[0]).encode()
