"""uvicorn's HTTP, which lets `serving.hot` answer as soon as a request's last byte is there.

For every request uvicorn starts a task at its headers, which then waits for the body: a third of what a prediction
costs. Here the task of a request that the hot path may answer is put off until the body is complete, and mostly never
started. Whatever is unusual (a long body, `Expect: 100-continue`, a client that does not read, a mistake) gets its task
after all, and finds everything as uvicorn would have left it.
"""

from typing import Any

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from serving.hot import HotApp, HotPath
from serving.stopping import PatientProtocol

HEAD = b"HTTP/1.1 200 OK\r\n%bcontent-type: application/json\r\ncontent-length: %d\r\nx-request-id: %b\r\n%b\r\n%b"


class HotProtocol(PatientProtocol):
    """One connection."""

    _hot: HotPath | None = None  # what may answer the request whose body is being read

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:  # Any: uvicorn's type of applications
        scope = cycle.scope
        hot = app.hot.get(scope["path"]) if isinstance(app, HotApp) and scope["method"] == "POST" else None
        # Of a request that had to wait for another one the body may be complete: nobody would call us any more.
        if isinstance(hot, HotPath) and cycle.more_body and not cycle.waiting_for_100_continue:
            self._hot = hot
        else:
            super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        super().on_body(body)
        if self._hot is not None and len(self.cycle.body) > HIGH_WATER_LIMIT:
            self._start_after_all()  # uvicorn reads no more until the task asks for it

    def on_message_complete(self) -> None:
        """Answer, if nothing is unusual."""
        super().on_message_complete()
        if self._hot is None:
            return
        # A client that does not read its answers is made to wait by the task.
        answered = None if self.flow.write_paused else self._answer(self._hot)
        if answered is None:
            self._start_after_all()
            return
        self._hot = None
        self._send(*answered)

    def _answer(self, hot: HotPath) -> tuple[bytes, bytes] | None:
        try:
            return hot.answer(self.cycle.scope["headers"], bytes(self.cycle.body))
        except Exception:  # the task will fail alike; there a failure is logged, and answered
            return None

    def _send(self, identifier: bytes, body: bytes) -> None:
        cycle = self.cycle
        defaults = b"".join([b"%b: %b\r\n" % header for header in cycle.default_headers])
        ending = b"" if cycle.keep_alive else b"connection: close\r\n"
        self.transport.write(HEAD % (defaults, len(body), identifier, ending, body))
        cycle.response_started = cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _start_after_all(self) -> None:
        self._hot = None
        super()._start_asgi_task(self.cycle, self.app)
