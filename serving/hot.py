"""`POST /predict` before the framework: what is right is answered here, all else goes the documented way.

FastAPI's router, dependencies and middleware cost ten times as much as reading, scoring, logging and writing an answer.
So the application looks at this route by itself (and at two more: `serving.hot_feedback`, `serving.hot_batch`).
Whatever is unusual (a mistake in the body, a body in several parts, no model, a version that needs scikit-learn) is
handed on unchanged to the route in `serving.routes.predict`, which explains it; both answer with `serving.predictor`.
`python -m serving` asks for predictions and feedback even before uvicorn makes a task of the request: see
`serving.hot_protocol`.
"""

from collections.abc import Iterable, Mapping, Sequence
from time import perf_counter

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.live import LiveModel
from serving.metrics import Tally
from serving.middleware import REQUEST_ID
from serving.predictor import UNREADABLE, encode

PATH = "/predict"
JSON = (b"content-type", b"application/json")
Headers = Iterable[tuple[bytes, bytes]]


class HotPath:
    """Answers right requests for one prediction."""

    def __init__(self, app: FastAPI, live: LiveModel, tally: Tally, body_bytes: int) -> None:
        self._app = app
        self._body_bytes = body_bytes
        self._live = live
        self._tally = tally

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As an ASGI application."""
        message = await receive()
        answered = self.answer(scope["headers"], message.get("body", b"")) if is_whole(message) else None
        if answered is None:
            await hand_on(self._app, scope, [message], receive, send)
            return
        identifier, body = answered
        length = (b"content-length", b"%d" % len(body))
        headers = (JSON, length, (b"x-request-id", identifier))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def answer(self, headers: Headers, body: bytes) -> tuple[bytes, bytes] | None:
        """The request's identifier and the answer; None if the ``body``, which is whole, is not simply right."""
        started = perf_counter()
        predictor = self._live.predictor
        if predictor is None or not predictor.is_compiled or len(body) > self._body_bytes:
            return None
        try:
            values, warnings = predictor.read(body)
        except UNREADABLE:
            return None
        answer, seconds = predictor.answer(values, warnings)
        content = encode(answer)
        self._tally.prediction(answer.model_version, seconds)
        self._tally.request(perf_counter() - started)
        return request_id(headers) or answer.prediction_id.encode(), content


class HotApp(FastAPI):
    """FastAPI with fast paths in front, each for the POSTs to one path."""

    hot: Mapping[str, ASGIApp]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As an ASGI application."""
        hot = self.hot.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        await (hot or super().__call__)(scope, receive, send)


async def hand_on(app: FastAPI, scope: Scope, taken: Sequence[Message], receive: Receive, send: Send) -> None:
    """Let the documented route answer, to which nothing of the request is missing: not what was ``taken`` either."""
    messages = iter(taken)

    async def from_the_start() -> Message:
        return next(messages, None) or await receive()

    await FastAPI.__call__(app, scope, from_the_start, send)


def is_whole(message: Message) -> bool:
    """Whether this is the whole body of a request."""
    return not message.get("more_body")


def request_id(headers: Headers) -> bytes | None:
    """The client's own, if it is harmless."""
    for name, value in headers:
        if name == b"x-request-id" and REQUEST_ID.fullmatch(value.decode("latin-1")):
            return bytes(value)
    return None
