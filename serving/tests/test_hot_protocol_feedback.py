"""Feedback over a real connection: acknowledged without a task, unless it fails or something else comes first."""

import json
import time
from contextlib import contextmanager
from itertools import pairwise

import pytest

from serving import hot_feedback
from serving.hot_protocol import HotProtocol
from tests.connection import Connection, listening, request, running
from tests.support import rows_of, wait_for

CONFLICT = b'"target": "benign"'


@contextmanager
def standing_still(home, app, waiting):
    """A store in which nothing is committed before the block ends, which begins when so many wait for that."""
    with home.store.feedback._database.writing():
        yield lambda: wait_for(lambda: app.state.parts.tally.in_flight == waiting, "the feedback to wait")


def feedback(body, *headers):
    return request(body, *headers, path="/feedback")


@pytest.fixture
def truth(home):
    return json.dumps(
        {"data": home.preparation.test_records[0], "prediction": "benign", "target": "malignant"}
    ).encode()


def test_right_feedback_is_acknowledged_without_a_task(connection, tasks, home, body, truth):
    connection.send(request(body))
    predicted = json.loads(connection.answer()[2])["prediction_id"]

    connection.send(feedback(truth, "X-Request-ID: mine"))
    status, headers, content = connection.answer()
    connection.send(feedback(json.dumps({"prediction_id": predicted, "target": "benign"}).encode()))
    by_identifier = connection.answer()

    assert (status, headers["x-request-id"], headers["content-type"]) == (201, "mine", "application/json")
    assert {"date", "server"} <= set(headers)
    assert json.loads(content)["row"] == 1
    assert (by_identifier[0], json.loads(by_identifier[2])["row"]) == (201, 2)
    assert len(rows_of(home)) == 2
    assert tasks == []


def test_feedback_that_fails_late_is_explained_by_the_documented_route(connection, tasks, home, truth):
    connection.send(feedback(truth, "Idempotency-Key: k"))
    first = connection.answer()
    connection.send(feedback(truth.replace(b'"target": "malignant"', CONFLICT), "Idempotency-Key: k"))
    conflict = connection.answer()
    connection.send(feedback(b'{"prediction_id": "nobody\'s", "target": "benign"}'))
    unknown = connection.answer()
    connection.send(feedback(truth, "Idempotency-Key: k"))

    assert first[0] == 201
    assert (conflict[0], conflict[1]["content-type"]) == (409, "application/problem+json")
    assert (unknown[0], unknown[1]["content-type"]) == (404, "application/problem+json")
    assert connection.answer()[2] == first[2]
    assert tasks == ["/feedback"] * 2
    assert len(rows_of(home)) == 1


def test_the_documented_route_gets_the_whole_of_feedback_that_failed(connection, truth, monkeypatch):
    seen, hand_on = [], hot_feedback.hand_on

    async def note(app, scope, taken, receive, send):
        seen.extend(taken)
        await hand_on(app, scope, taken, receive, send)

    monkeypatch.setattr(hot_feedback, "hand_on", note)
    unknown = b'{"prediction_id": "nobody\'s", "target": "benign"}'

    connection.send(feedback(unknown))

    assert connection.answer()[0] == 404
    assert seen == [{"type": "http.request", "body": unknown, "more_body": False}]


def test_a_mistake_in_feedback_is_explained_by_the_documented_route(connection, tasks, truth):
    connection.send(feedback(truth[:-1]) + feedback(truth))

    assert [connection.answer()[0] for _ in range(2)] == [422, 201]
    assert tasks == ["/feedback"] * 2  # the second one had to wait for the first one's answer


def test_what_comes_behind_feedback_is_answered_behind_its_receipt(app, connection, home, body, truth):
    wrong = truth.replace(b'"target": "malignant"', CONFLICT)
    health = request(b"", path="/livez", method="GET")
    with standing_still(home, app, 1) as until_it_waits:
        connection.send(feedback(truth, "Idempotency-Key: k"))
        until_it_waits()
        connection.send(request(body) + feedback(wrong, "Idempotency-Key: k") + health, feedback(truth))

    answers = [connection.answer() for _ in range(5)]

    assert [status for status, _, _ in answers] == [201, 200, 409, 200, 201]
    assert len(rows_of(home)) == 2


def test_feedback_that_comes_together_is_acknowledged_together(app, home, truth, monkeypatch):
    done, acknowledge, send = [], hot_feedback.HotFeedback.acknowledge, HotProtocol._send_answers

    def note_receipt(self, pending):
        done.append("acknowledged")
        return acknowledge(self, pending)

    def note_sending(self):
        done.append("sent")
        send(self)

    monkeypatch.setattr(hot_feedback.HotFeedback, "acknowledge", note_receipt)
    with listening(app) as port:
        connections = [Connection(port) for _ in range(4)]
        with standing_still(home, app, 4) as until_they_wait:
            for connection in connections:
                connection.send(feedback(truth))
            until_they_wait()
            monkeypatch.setattr(HotProtocol, "_send_answers", note_sending)
        assert [connection.answer()[0] for connection in connections] == [201] * 4
        for connection in connections:
            connection.close()

    assert ("acknowledged", "acknowledged") in pairwise(done)  # the first one may have been committed alone


@pytest.mark.parametrize("target", [b'"target": "malignant"', CONFLICT])
@pytest.mark.parametrize(("version", "wish"), [(b"1.1", "close"), (b"1.0", "keep-alive")])
def test_the_connection_is_closed_for_who_wants_it_behind_the_receipt(connection, truth, target, version, wish):
    connection.send(feedback(truth, "Idempotency-Key: k"))
    assert connection.answer()[0] == 201
    again = feedback(truth.replace(b'"target": "malignant"', target), "Idempotency-Key: k", f"Connection: {wish}")

    connection.send(again.replace(b"HTTP/1.1", b"HTTP/" + version))

    status, headers, _ = connection.answer()
    assert (status, headers["connection"]) == (409 if target == CONFLICT else 201, "close")
    assert connection.rest() == b""


def test_feedback_under_way_when_the_server_stops_is_acknowledged(app, home, truth):
    with running(app) as server:
        connection = Connection(server.config.port)
        with standing_still(home, app, 1) as until_it_waits:
            connection.send(feedback(truth))
            until_it_waits()
            server.should_exit = True
            time.sleep(1.5)  # longer than it would wait for a connection that asks for nothing

    status, headers, _ = connection.answer()
    assert (status, headers["connection"]) == (201, "close")
    connection.close()


@pytest.mark.parametrize("path", ["/predict", "/feedback"])
def test_a_connection_may_still_ask_once_when_the_server_stops(app, body, truth, path):
    with running(app) as server:
        connection = Connection(server.config.port)
        connection.send(request(body))
        assert connection.answer()[0] == 200
        server.should_exit = True
        time.sleep(0.3)  # the server has heard of it by now

        connection.send(request(truth if path == "/feedback" else body, path=path))

        status, headers, _ = connection.answer()
        assert (status // 100, headers["connection"]) == (2, "close")
        assert connection.rest() == b""
        connection.close()


@pytest.mark.parametrize("key", ["one", "another"])
def test_a_client_that_left_has_given_its_feedback_all_the_same(app, home, truth, caplog, key):
    with listening(app) as port:
        connection = Connection(port)
        connection.send(feedback(truth, "Idempotency-Key: one"))
        assert connection.answer()[0] == 201
        with standing_still(home, app, 1) as until_it_waits:
            connection.send(feedback(truth.replace(b'"target": "malignant"', CONFLICT), f"Idempotency-Key: {key}"))
            until_it_waits()
            connection.close()
            time.sleep(0.2)  # the server has heard of it by now
        wait_for(lambda: app.state.parts.tally.in_flight == 0, "the end of the feedback")

    assert len(rows_of(home)) == (1 if key == "one" else 2)
    assert caplog.messages == []
