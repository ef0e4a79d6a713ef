"""`POST /feedback` before the framework, as `serving.hot` does it for predictions, and for the same reason.

A right request is read, found in the log, committed together with others, and acknowledged here. Whatever is unusual
goes to the route in `serving.routes.feedback`: a mistake unchanged, a failure with its exception, so that nothing is
tried twice.
"""

from time import perf_counter
from typing import Annotated

import msgspec
from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send
from uuid_utils import uuid7

from boucle.contract import NO_NUL, Label
from boucle.errors import InvalidRecord
from boucle.store import Receipt
from serving import given
from serving.committer import Committer
from serving.finder import Finder
from serving.given import Given
from serving.hot import JSON, hand_on, is_simple, request_id
from serving.live import LiveModel
from serving.metrics import Tally
from serving.predictor import UNREADABLE, Predictor
from serving.routes.feedback import LONGEST_KEY, written

PATH = "/feedback"


class ById(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """See `serving.schemas.FeedbackById`."""

    prediction_id: Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=NO_NUL)]
    target: Label


class ByData(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """See `serving.schemas.FeedbackByData`."""

    data: msgspec.Raw
    prediction: Label
    target: Label


_by_id = msgspec.json.Decoder(ById).decode
_by_data = msgspec.json.Decoder(ByData).decode


class HotFeedback:
    """Stores and acknowledges right feedback."""

    def __init__(
        self, app: FastAPI, live: LiveModel, tally: Tally, finder: Finder, committer: Committer, body_bytes: int
    ) -> None:
        self._app = app
        self._body_bytes = body_bytes
        self._live = live
        self._finder = finder
        self._committer = committer
        self._tally = tally

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As an ASGI application."""
        message = await receive()
        started = perf_counter()
        predictor = self._live.predictor
        asked = _read(scope, message, predictor) if predictor and is_simple(message, self._body_bytes) else None
        if predictor is None or asked is None:
            await hand_on(self._app, scope, [message], receive, send)
            return
        try:
            receipt = await self._store(asked, predictor)
        except Exception as failure:  # the route's handlers have an answer to every one
            await hand_on(self._app, {**scope, "failure": failure}, [message], receive, send)
            return
        body = written(receipt)
        length = (b"content-length", b"%d" % len(body))
        identifier = (b"x-request-id", request_id(scope["headers"]) or str(uuid7()).encode())
        await send({"type": "http.response.start", "status": 201, "headers": (JSON, length, identifier)})
        await send({"type": "http.response.body", "body": body})
        self._tally.feedback(perf_counter() - started)

    async def _store(self, asked: ById | Given, predictor: Predictor) -> Receipt:
        self._tally.in_flight += 1
        try:
            if isinstance(asked, ById):
                logged = await self._finder.find(asked.prediction_id)
                asked = given.of_prediction(logged, asked.target, predictor.version)
            return await self._committer.ask(asked)
        finally:
            self._tally.in_flight -= 1


def _read(scope: Scope, message: Message, predictor: Predictor) -> ById | Given | None:
    """What the request says; None if it is wrong, or not simply right."""
    keys = [value for name, value in scope["headers"] if name == b"idempotency-key"]
    if len(keys) > 1 or not all(1 <= len(key) <= LONGEST_KEY for key in keys):
        return None
    identifier = given.identifier(keys[0].decode("latin-1") if keys else None)
    try:
        asked = _decode(message["body"])
        return asked if isinstance(asked, ById) else _of_data(asked, identifier, predictor)
    except (*UNREADABLE, InvalidRecord):
        return None


def _decode(body: bytes) -> ById | ByData:
    try:
        return _by_id(body)
    except msgspec.ValidationError:
        return _by_data(body)


def _of_data(asked: ByData, identifier: str, predictor: Predictor) -> Given:
    values, _ = predictor.read(bytes(asked.data))
    record = predictor.record(values)
    return given.of_data(record, asked.prediction, asked.target, identifier, predictor.version, record)
