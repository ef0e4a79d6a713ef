"""uvicorn's HTTP, which lets `serving.hot` answer as soon as a request's last byte is there.

uvicorn makes a scope and starts a task for each request when its headers are complete, and the task then waits for the
body: more than a third of what a prediction costs. Here uvicorn is not told of a request that the hot path may answer
until its body is complete, and mostly never. Whatever is unusual (a long body, a mistake in it, a client that does not
read its answers) is told it after all, in the same calls as ever; all other requests at once.

Answers leave when the event loop has read what is there: requests that came together are read and scored one after the
other, then answered one after the other. By turns they cost a third more with a linear model, and half as much again
with boosted trees (64 connections; docs/performance.md).

A quiet connection is closed as by uvicorn, which sets a timer at every answer and takes it back at every request. Here
a connection has one, which looks when it goes off how long it has been quiet.
"""

import asyncio

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT

from serving import hot_batch
from serving.batch import AT_ONCE_BYTES
from serving.hot import PATH, HotApp, HotPath
from serving.stopping import PatientProtocol

URL = PATH.encode()
WHOLE = {URL: HIGH_WATER_LIMIT, hot_batch.PATH.encode(): AT_ONCE_BYTES}  # bytes that are waited for
HEAD = b"HTTP/1.1 200 OK\r\n%bcontent-type: application/json\r\ncontent-length: %d\r\nx-request-id: %b\r\n%b\r\n%b"


class HotProtocol(PatientProtocol):
    """One connection."""

    _hot: HotPath | None = None
    _parts: list[bytes] | None = None  # the body of a request that uvicorn does not know of
    _room = 0  # bytes that it may still have
    _unsent: list[bytes] | None = None  # answers that leave when all that has come is read
    _quiet_since: float | None = None  # seconds of the loop's clock; None while a request is under way
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin with a connection."""
        super().connection_made(transport)
        hot = self.app.hot[PATH] if isinstance(self.app, HotApp) else None
        if isinstance(hot, HotPath) and not self.root_path and self.limit_concurrency is None:
            self._hot = hot

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
        """Take a request's first byte, which may have come together with requests that are answered already."""
        self._quiet_since = None
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Wait for the body, or begin to answer."""
        most = WHOLE.get(self.url, 0)
        is_hot = (
            most
            and self._hot is not None
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
        answered = None if self._parts is None or self.url != URL else self._answered(b"".join(self._parts))
        if answered is not None:
            self._parts = None
            self._answer(*answered)
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

    def _answered(self, body: bytes) -> tuple[bytes, bytes] | None:
        if self._hot is None or self.flow.write_paused:  # the task waits until the client reads its answers
            return None
        try:
            return self._hot.answer(self.headers, body)
        except Exception:  # the task will fail alike, where failures are logged and answered
            return None

    def _answer(self, identifier: bytes, body: bytes) -> None:
        defaults = b"".join([b"%b: %b\r\n" % header for header in self.server_state.default_headers])
        keeps = self.parser.should_keep_alive() and self.parser.get_http_version() != "1.0" and not self._stopping
        ending = b"" if keeps else b"connection: close\r\n"
        if self._unsent is None:
            self._unsent = []
            self.loop.call_soon(self._send_answers)
        self._unsent.append(HEAD % (defaults, len(body), identifier, ending, body))
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
        """What it was not told of the request under way, if there is one."""
        if self._parts is not None:
            parts, self._parts = self._parts, None
            super().on_headers_complete()
            super().on_body(b"".join(parts))
