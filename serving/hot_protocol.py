"""uvicorn's HTTP, which lets `serving.hot` answer as soon as a request's last byte is there.

uvicorn makes a scope and starts a task for each request when its headers are complete, and the task then waits for the
body: more than a third of what a prediction costs. Here uvicorn is not told of a request that the hot path may answer
until its body is complete, and mostly never. Whatever is unusual (a long body, a mistake in it, a client that does not
read its answers) is told it after all, in the same calls as ever; all other requests at once.
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

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin with a connection."""
        super().connection_made(transport)
        hot = self.app.hot[PATH] if isinstance(self.app, HotApp) else None
        if isinstance(hot, HotPath) and not self.root_path and self.limit_concurrency is None:
            self._hot = hot

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
            self._send(*answered)
            return
        self._tell_uvicorn()
        super().on_message_complete()

    def shutdown(self) -> None:
        """Answer what is under way, and close the connection."""
        self._tell_uvicorn()
        super().shutdown()

    def _answered(self, body: bytes) -> tuple[bytes, bytes] | None:
        if self._hot is None or self.flow.write_paused:  # the task waits until the client reads its answers
            return None
        try:
            return self._hot.answer(self.headers, body)
        except Exception:  # the task will fail alike, where failures are logged and answered
            return None

    def _send(self, identifier: bytes, body: bytes) -> None:
        defaults = b"".join([b"%b: %b\r\n" % header for header in self.server_state.default_headers])
        keeps = self.parser.should_keep_alive() and self.parser.get_http_version() != "1.0" and not self._stopping
        ending = b"" if keeps else b"connection: close\r\n"
        self.transport.write(HEAD % (defaults, len(body), identifier, ending, body))
        if not keeps:
            self.transport.close()
        self.on_response_complete()

    def _tell_uvicorn(self) -> None:
        """What it was not told of the request under way, if there is one."""
        if self._parts is not None:
            parts, self._parts = self._parts, None
            super().on_headers_complete()
            super().on_body(b"".join(parts))
