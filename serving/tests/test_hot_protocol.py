"""Requests over a real connection: what the fast path answers without a task, and what it leaves to uvicorn."""

import asyncio
import json
import threading
import time
import weakref

import pytest

from serving import hot, hot_batch
from serving.batch import AT_ONCE_BYTES
from serving.hot import HotPath
from serving.hot_protocol import HotProtocol
from tests.connection import Connection, listening, request
from tests.support import wait_for


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
