"""Requests over a real connection: what the fast path answers without a task, and what it leaves to uvicorn."""

import asyncio
import json
import socket
import threading
import time
import weakref
from contextlib import contextmanager
from itertools import pairwise

import pytest
import uvicorn

from serving import hot, hot_batch, hot_feedback
from serving.api import create_app
from serving.batch import AT_ONCE_BYTES
from serving.hot import HotPath
from serving.hot_protocol import HotProtocol
from serving.settings import Settings
from tests.support import free_port, rows_of, wait_for


class Connection:
    """A client that writes HTTP itself."""

    def __init__(self, port):
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._read = self._socket.makefile("rb")

    def send(self, *parts):
        for part in parts:
            self._socket.sendall(part)

    def answer(self):
        """Status, headers and body of the next one."""
        status = int(self._read.readline().split()[1])
        headers = {}
        while (line := self._read.readline().strip()) != b"":
            name, _, value = line.decode().partition(": ")
            headers[name] = value
        return status, headers, self._read.read(int(headers.get("content-length", 0)))

    def take_little_at_a_time(self):
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)  # else the kernel takes megabytes

    def rest(self):
        return self._read.read()

    def close(self):
        self._read.close()
        self._socket.close()


@contextmanager
def listening(app, **options):
    with running(app, **options) as server:
        yield server.config.port


@contextmanager
def running(app, **options):
    protocol = "serving.hot_protocol:HotProtocol"
    config = uvicorn.Config(app, port=free_port(), http=protocol, proxy_headers=False, log_level="critical", **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started, "uvicorn")
        yield server
    finally:
        server.should_exit = True
        thread.join()


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


@contextmanager
def standing_still(home, app, waiting):
    """A store in which nothing is committed before the block ends, which begins when so many wait for that."""
    with home.store.feedback._database.writing():
        yield lambda: wait_for(lambda: app.state.parts.tally.in_flight == waiting, "the feedback to wait")


def request(body, *headers, path="/predict", method="POST"):
    lines = [f"{method} {path} HTTP/1.1", "Host: here", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@pytest.fixture
def body(home):
    return json.dumps(home.preparation.test_records[0]).encode()


@pytest.fixture
def truth(home):
    return json.dumps(
        {"data": home.preparation.test_records[0], "prediction": "benign", "target": "malignant"}
    ).encode()


def test_a_right_request_is_answered_without_a_task(connection, tasks, body):
    connection.send(request(body, "X-Request-ID: mine"))

    status, headers, content = connection.answer()

    assert (status, headers["x-request-id"], headers["content-type"]) == (200, "mine", "application/json")
    assert {"date", "server"} <= set(headers)
    assert json.loads(content)["model_version"] == "v1"
    assert tasks == []


@pytest.mark.parametrize("cut", [1, 200])
def test_a_body_may_come_in_parts(connection, tasks, body, cut):
    whole = request(body)

    connection.send(whole[:-cut], whole[-cut:])

    assert connection.answer()[0] == 200
    assert tasks == []


def test_a_request_that_is_under_way_when_the_server_stops_is_answered(app, body):
    whole = request(body)
    with listening(app) as port:
        connection = Connection(port)
        connection.send(whole[:-1])
        threading.Timer(0.5, connection.send, [whole[-1:]]).start()
        time.sleep(0.2)  # the server has the rest of it by now

    status, headers, _ = connection.answer()
    assert (status, headers["connection"]) == (200, "close")
    connection.close()


def test_an_address_that_only_looks_alike_is_left_to_the_application(connection, tasks, body):
    connection.send(request(body, path="/predict?a=b") + request(body, path="/predicts") + request(b"", method="GET"))

    assert [connection.answer()[0] for _ in range(3)] == [200, 404, 405]
    assert tasks == ["/predict"]


def test_a_body_may_come_in_chunks(connection, body):
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)

    connection.send(b"POST /predict HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)

    assert connection.answer()[0] == 200


@pytest.mark.parametrize("wrong", [b"", b"{", b'{"mean area": "big"}'])
def test_a_mistake_is_explained_by_the_documented_route(connection, tasks, body, wrong):
    connection.send(request(wrong))
    status, headers, content = connection.answer()
    connection.send(request(body))

    assert (status, headers["content-type"]) == (422, "application/problem+json")
    assert json.loads(content)["errors"]
    assert connection.answer()[0] == 200
    assert tasks == ["/predict"]


def test_a_body_that_uvicorn_does_not_read_at_once_is_answered_too(connection, tasks, body):
    connection.send(request(body + b" " * 1_000_000))

    assert connection.answer()[0] == 200
    assert tasks == ["/predict"]


@pytest.mark.parametrize("blanks", [0, 300_000, 3_000_000])
def test_a_batch_reaches_the_application_in_one_piece_if_it_is_not_too_long(connection, body, monkeypatch, blanks):
    pieces, ask = [], hot_batch.HotBatch.__call__

    async def note(self, scope, receive, send):
        async def received():
            pieces.append(await receive())
            return pieces[-1]

        await ask(self, scope, received, send)

    monkeypatch.setattr(hot_batch.HotBatch, "__call__", note)
    connection.send(request(b"[" + body + b" " * blanks + b"]", path="/predict/batch"))

    status, headers, content = connection.answer()

    assert status == 200
    is_short = blanks < AT_ONCE_BYTES
    assert (len(pieces) == 1) == is_short
    assert ("content-length" in headers) == is_short
    if is_short:
        assert json.loads(content)["row"] == 1


def test_who_asks_whether_to_continue_is_told(connection, body):
    head, content = request(body, "Expect: 100-continue").split(b"\r\n\r\n")
    connection.send(head + b"\r\n\r\n")
    assert connection.answer()[0] == 100

    connection.send(content)

    assert connection.answer()[0] == 200


def test_requests_that_do_not_wait_for_answers_get_them_in_order(connection, body):
    health = request(b"", path="/livez", method="GET")

    connection.send(request(body) + health + request(b"{") + request(body) + request(body) + health)

    assert [connection.answer()[0] for _ in range(6)] == [200, 200, 422, 200, 200, 200]


def test_a_client_that_does_not_read_for_a_while_gets_every_answer(connection, body):
    many = 20_000
    connection.take_little_at_a_time()
    sending = threading.Thread(target=connection.send, args=[request(body) for _ in range(many)])
    sending.start()
    sending.join(2)
    assert sending.is_alive()  # by now neither of both goes on: the server does not pile up answers

    statuses = [connection.answer()[0] for _ in range(many)]

    sending.join()
    assert statuses == [200] * many


def test_the_connection_is_closed_for_who_wants_it(connection, body):
    connection.send(request(body, "Connection: close"))

    status, headers, _ = connection.answer()

    assert (status, headers["connection"]) == (200, "close")
    assert connection.rest() == b""


def test_who_has_said_the_last_is_still_answered(app, body, monkeypatch):
    take = HotProtocol.data_received

    def take_all(self, data):
        take(self, data)
        # The end can come in the same turn of the event loop; uvloop closes the connection then.
        self.eof_received()
        self.transport.close()

    monkeypatch.setattr(HotProtocol, "data_received", take_all)
    with listening(app) as port:
        connection = Connection(port)
        connection.send(request(body))

        assert connection.answer()[0] == 200
        assert connection.rest() == b""
        connection.close()


def test_what_comes_after_the_last_request_is_ignored_in_silence(connection, body, caplog):
    connection.send(request(body, "Connection: close") + request(body))

    assert connection.answer()[0] == 200
    assert connection.rest() == b""
    assert caplog.messages == []


def test_what_is_not_http_is_answered_after_what_was_right(connection, body):
    connection.send(request(body) + b"rubbish\r\n\r\n")

    assert [connection.answer()[0] for _ in range(2)] == [200, 400]
    assert connection.rest() == b""


def test_requests_that_came_together_are_answered_together(connection, body, monkeypatch):
    done, answer, send = [], HotPath.answer, HotProtocol._send_answers

    def note_answer(self, *request):
        done.append("answered")
        return answer(self, *request)

    def note_sending(self):
        done.append("sent")
        send(self)

    monkeypatch.setattr(HotPath, "answer", note_answer)
    monkeypatch.setattr(HotProtocol, "_send_answers", note_sending)
    connection.send(request(body) * 3)

    assert [connection.answer()[0] for _ in range(3)] == [200, 200, 200]
    assert done == ["answered"] * 3 + ["sent"]


def test_a_connection_is_closed_once_it_has_been_quiet_for_a_while(app, body):
    with listening(app, timeout_keep_alive=1) as port:
        connection = Connection(port)
        for _ in range(4):
            connection.send(request(body))
            assert connection.answer()[0] == 200
            time.sleep(0.5)
        answered = time.monotonic() - 0.5

        assert connection.rest() == b""
        assert time.monotonic() - answered > 0.95
        connection.close()


def test_an_answer_may_take_longer_than_a_connection_may_be_quiet(app, body, monkeypatch):
    ask = HotPath.__call__

    async def wait_and_ask(self, *arguments):
        await asyncio.sleep(1.5)
        await ask(self, *arguments)

    monkeypatch.setattr(HotPath, "__call__", wait_and_ask)
    with listening(app, timeout_keep_alive=1) as port:
        connection = Connection(port)
        connection.send(request(body) + request(b"{"))

        assert [connection.answer()[0] for _ in range(2)] == [200, 422]
        connection.close()


@pytest.mark.parametrize("cut", [1, -1])
def test_a_request_may_take_longer_than_a_connection_may_be_quiet(app, body, cut):
    whole = request(body)
    with listening(app, timeout_keep_alive=1) as port:
        connection = Connection(port)
        connection.send(whole + whole[:cut])
        assert connection.answer()[0] == 200
        time.sleep(1.5)

        connection.send(whole[cut:])

        assert connection.answer()[0] == 200
        connection.close()


def test_a_connection_leaves_nothing_behind(app, body, monkeypatch):
    made, begin = [], HotProtocol.connection_made

    def note(self, transport):
        made.append(weakref.ref(self))
        begin(self, transport)

    monkeypatch.setattr(HotProtocol, "connection_made", note)
    with listening(app, timeout_keep_alive=3_600) as port:
        connection = Connection(port)
        connection.send(request(body))
        assert connection.answer()[0] == 200
        connection.close()

        wait_for(lambda: made[0]() is None, "the end of the connection")


def test_a_failure_is_answered_and_the_connection_lives(app, body, monkeypatch):
    def fail(*_):
        raise RuntimeError("nobody expected it")

    with listening(app) as port:
        monkeypatch.setattr(hot.HotPath, "answer", fail)
        connection = Connection(port)
        connection.send(request(body))
        assert connection.answer()[0] == 500
        connection.close()

        monkeypatch.undo()
        connection = Connection(port)
        connection.send(request(body))
        assert connection.answer()[0] == 200
        connection.close()


def feedback(body, *headers):
    return request(body, *headers, path="/feedback")


CONFLICT = b'"target": "benign"'


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
