"""What happens to every request: an identifier, a limit on its body, its metrics."""

import re
import time

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils import uuid7

from serving import metrics
from serving.problems import BodyTooLarge

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# A client that sends too much reads its answer only after it has sent it all: so much is thrown away for its sake.
DISCARDED_FACTOR = 10


class Identified:
    """Gives the request an identifier, the client's own `X-Request-ID` if it is harmless, and echoes it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Request(scope).headers.get("x-request-id", "")
        scope["request_id"] = given if REQUEST_ID.fullmatch(given) else str(uuid7())

        async def send_identified(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Request-ID"] = scope["request_id"]
            await send(message)

        await self._app(scope, receive, send_identified)


class Limited:
    """Refuses a body beyond ``body_bytes``, announced or not, without keeping it; a batch, beyond ``batch_bytes``."""

    def __init__(self, app: ASGIApp, body_bytes: int, batch_bytes: int) -> None:
        self._app = app
        self._body_bytes = body_bytes
        self._batch_bytes = batch_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received = 0
        is_batch = scope["path"] == "/predict/batch"
        limit, key = (self._batch_bytes, "limits.batch_bytes") if is_batch else (self._body_bytes, "limits.body_bytes")

        async def receive_limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received <= limit:
                return message
            while message.get("more_body") and received <= self._body_bytes * DISCARDED_FACTOR:
                message = await receive()
                received += len(message.get("body", b""))
            raise BodyTooLarge(f"the body may have {limit:,} bytes at most ({key}); send it in parts")

        await self._app(scope, receive_limited, send)


class Measured:
    """Counts and times every request, by route and not by path: a client must not be able to invent labels."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def send_measured(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        metrics.IN_FLIGHT.inc()
        try:
            await self._app(scope, receive, send_measured)
        finally:
            route = getattr(scope.get("route"), "path", "unknown")
            method = scope["method"] if route != "unknown" else "other"
            metrics.IN_FLIGHT.dec()
            metrics.REQUESTS.labels(method, route, status).inc()
            metrics.REQUEST_SECONDS.labels(route).observe(time.perf_counter() - started)
