"""uvicorn's HTTP, which lets `serving.hot` answer as soon as a request's last byte is there.

uvicorn makes a scope and starts a task for each request when its headers are complete, and the task then waits for the
body: more than a third of what a prediction costs. Here uvicorn is not told of a request that a hot path may answer
until its body is complete, and mostly never. Whatever is unusual (a long body, a mistake in it, a client that does not
read its answers) is told it after all, in the same calls as ever; all other requests at once. Feedback waits for its
commit: uvicorn is told of it meanwhile if another request or the stop comes, and at last if the commit fails.

Answers leave when the event loop has read what is there: requests that came together are read and scored one after the
other, then answered one after the other. By turns they cost a third more with a linear model, and half as much again
with boosted trees (64 connections; docs/performance.md).

A quiet connection is closed as by uvicorn, which sets a timer at every answer and takes it back at every request. Here
a connection has one, which looks when it goes off how long it has been quiet.
"""

import asyncio
from typing import cast

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT

from boucle.store import Receipt
from serving import hot, hot_batch, hot_feedback
from serving.batch import AT_ONCE_BYTES
from serving.hot import HotApp, HotPath
from serving.hot_feedback import HotFeedback, Pending
from serving.stopping import PatientProtocol

PREDICT, FEEDBACK, BATCH = (module.PATH.encode() for module in (hot, hot_feedback, hot_batch))
WHOLE = {PREDICT: HIGH_WATER_LIMIT, FEEDBACK: HIGH_WATER_LIMIT, BATCH: AT_ONCE_BYTES}  # bytes that are waited for
OK, CREATED = b"200 OK", b"201 Created"
HEAD = b"HTTP/1.1 %b\r\n%bcontent-type: application/json\r\ncontent-length: %d\r\nx-request-id: %b\r\n%b\r\n%b"


class HotProtocol(PatientProtocol):
    """One connection."""

    _predictions: HotPath | None = None
    _feedback: HotFeedback | None = None
    _parts: list[bytes] | None = None  # the body of a request that uvicorn does not know of
    _room = 0  # bytes that it may still have
    _pending: Pending | None = None  # that request, if its feedback is being stored
    _keeps = True  # whether the client wants the connection to stay
    _unsent: list[bytes] | None = None  # answers that leave when all that has come is read
    _quiet_since: float | None = None  # seconds of the loop's clock; None while a request is under way
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin with a connection."""
        super().connection_made(transport)
        if isinstance(self.app, HotApp) and not self.root_path and self.limit_concurrency is None:
            self._predictions = cast(HotPath, self.app.hot[hot.PATH])
            self._feedback = cast(HotFeedback, self.app.hot[hot_feedback.PATH])

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave nothing behind that would keep the connection in memory."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def eof_received(self) -> None:
        """Answer a client that has said its last, before the connection closes."""
        self._send_answers()
        super().eof_received()

    def on_message_begin(self) -> None:
        """Take a request's first byte, which may have come together with those of others, answered already or not."""
        self._tell_uvicorn()
        self._quiet_since = None
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Wait for the body, or begin to answer."""
        most = WHOLE.get(self.url, 0)
        is_hot = (
            most
            and self._predictions is not None
            and self.parser.get_method() == b"POST"
            and not self.expect_100_continue
            and not self.parser.should_upgrade()
            and (self.cycle is None or self.cycle.response_complete)  # else it has to wait for another one's answer
        )
        if is_hot:
            self._parts, self._room = [], most
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if self._parts is None:
            super().on_body(body)
            return
        self._parts.append(body)
        self._room -= len(body)
        if self._room < 0:  # uvicorn reads no more than it has been asked for
            self._tell_uvicorn()

    def on_message_complete(self) -> None:
        """Answer, if nothing is unusual."""
        if self._parts is not None:
            self._keeps = self.parser.should_keep_alive() and self.parser.get_http_version() != "1.0"
            if not self.flow.write_paused and self._takes(b"".join(self._parts)):
                return
        self._tell_uvicorn()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on to the next request, or wait for it."""
        if self.pipeline or self.transport.is_closing():
            super().on_response_complete()
            return
        self.server_state.total_requests += 1
        self.flow.resume_reading()
        self._quiet_since = self.loop.time()
        if self._timer is None:
            self._close_after(self.timeout_keep_alive)

    def shutdown(self) -> None:
        """Answer what is under way, and close the connection."""
        self._tell_uvicorn()
        super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, after what came before it."""
        self._send_answers()
        super().send_400_response(msg)

    def _takes(self, body: bytes) -> bool:
        """Whether the request is answered, or will be."""
        answered = None
        try:
            if self.url == PREDICT and self._predictions is not None:
                answered = self._predictions.answer(self.headers, body)
            elif self.url == FEEDBACK and self._feedback is not None:
                self._pending = self._feedback.ask(self.headers, body)
        except Exception:  # the task will fail alike, where failures are logged and answered
            return False
        if answered is not None:
            self._answer(OK, *answered)
        elif self._pending is not None:
            self._pending.receipt.add_done_callback(self._acknowledge)
        return answered is not None or self._pending is not None

    def _acknowledge(self, receipt: "asyncio.Future[Receipt]") -> None:
        if self._pending is None or self._feedback is None or self.transport.is_closing():
            return  # uvicorn was told, or the client is gone: it is stored all the same
        if receipt.cancelled() or receipt.exception() is not None:  # which the route has an answer to
            self._tell_uvicorn()
            return
        pending, self._pending = self._pending, None
        self._answer(CREATED, *self._feedback.acknowledge(pending))

    def _answer(self, status: bytes, identifier: bytes, body: bytes) -> None:
        self._parts = None
        defaults = b"".join([b"%b: %b\r\n" % header for header in self.server_state.default_headers])
        keeps = self._keeps and not self._stopping
        ending = b"" if keeps else b"connection: close\r\n"
        if self._unsent is None:
            self._unsent = []
            self.loop.call_soon(self._send_answers)
        self._unsent.append(HEAD % (status, defaults, len(body), identifier, ending, body))
        if not keeps:
            self._send_answers()
            self.transport.close()
        self.on_response_complete()

    def _send_answers(self) -> None:
        if self._unsent is not None:
            answers, self._unsent = self._unsent, None
            self.transport.write(b"".join(answers))

    def _close_after(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self._close_if_quiet)

    def _close_if_quiet(self) -> None:
        self._timer = None
        if self._quiet_since is None:  # the answer under way will set the next timer
            return
        remaining = self._quiet_since + self.timeout_keep_alive - self.loop.time()
        if remaining > 0:
            self._close_after(remaining)
        else:
            self.timeout_keep_alive_handler()

    def _tell_uvicorn(self) -> None:
        """What it was not told of the request under way, if there is one; of feedback, that its receipt is to come."""
        if self._parts is None:
            return
        parts, self._parts = self._parts, None
        pending, self._pending = self._pending, None
        if pending is not None:
            self.scope["pending"] = pending  # type: ignore[typeddict-unknown-key]
        super().on_headers_complete()
        super().on_body(b"".join(parts))
        if pending is not None:
            self.cycle.keep_alive = self.cycle.keep_alive and self._keeps  # by now the parser has forgotten
            super().on_message_complete()
