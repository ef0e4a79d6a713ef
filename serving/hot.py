"""`POST /predict` before the framework: what is right is answered here, all else goes the documented way.

FastAPI's router, dependencies and middleware cost ten times as much as reading, scoring, logging and writing an answer.
So the application looks at this one route by itself. Whatever is unusual (a mistake in the body, a body in several
parts, no model, a version that needs scikit-learn) is handed on unchanged to the route in `serving.routes.predict`,
which explains it; both answer with `serving.predictor`.
"""

from time import perf_counter

import msgspec
from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send

from serving.live import LiveModel
from serving.metrics import Tally
from serving.middleware import REQUEST_ID
from serving.predictor import encode

PATH = "/predict"
JSON = (b"content-type", b"application/json")


class HotPath:
    """Answers right requests for one prediction."""

    def __init__(self, app: FastAPI, live: LiveModel, tally: Tally) -> None:
        self._app = app
        self._live = live
        self._tally = tally

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As an ASGI application."""
        message = await receive()
        started = perf_counter()
        predictor = self._live.predictor
        if predictor is None or not predictor.is_compiled or message.get("more_body"):
            await self._hand_on(scope, message, receive, send)
            return
        try:
            values, warnings = predictor.read(message["body"])
        except (msgspec.MsgspecError, KeyError):  # no body: the client is gone
            await self._hand_on(scope, message, receive, send)
            return
        answer, seconds = predictor.answer(values, warnings)
        body = encode(answer)
        length = (b"content-length", b"%d" % len(body))
        identifier = (b"x-request-id", _request_id(scope) or answer.prediction_id.encode())
        await send({"type": "http.response.start", "status": 200, "headers": (JSON, length, identifier)})
        await send({"type": "http.response.body", "body": body})
        self._tally.prediction(answer.model_version, seconds)
        self._tally.request(perf_counter() - started)

    async def _hand_on(self, scope: Scope, first: Message, receive: Receive, send: Send) -> None:
        messages = [first]

        async def from_the_start() -> Message:
            return messages.pop() if messages else await receive()

        await FastAPI.__call__(self._app, scope, from_the_start, send)


class HotApp(FastAPI):
    """FastAPI with a `HotPath` in front."""

    hot: HotPath

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As an ASGI application."""
        if scope["type"] == "http" and scope["path"] == PATH and scope["method"] == "POST":
            await self.hot(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def _request_id(scope: Scope) -> bytes | None:
    """The client's own, if it is harmless."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and REQUEST_ID.fullmatch(value.decode("latin-1")):
            return bytes(value)
    return None
