"""`POST /feedback` before the framework, as `serving.hot` does it for predictions, and for the same reason.

A right request is read, found in the log, committed together with others, and acknowledged here. Whatever is unusual
goes to the route in `serving.routes.feedback`: a mistake unchanged, a failure with its exception, so that nothing is
tried twice.
"""

import asyncio
from time import perf_counter
from typing import Annotated

import msgspec
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send
from uuid_utils import uuid7

from boucle.contract import NO_NUL, Label
from boucle.errors import InvalidRecord
from boucle.store import Receipt
from serving import given
from serving.committer import Committer
from serving.finder import Finder
from serving.given import Given
from serving.hot import JSON, Headers, hand_on, is_whole, request_id
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


class Pending(msgspec.Struct, frozen=True):
    """Feedback that is being stored: its receipt to come, its request's headers, and when it came (`perf_counter`)."""

    receipt: "asyncio.Future[Receipt]"
    headers: Headers
    started: float


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
        """As an ASGI application; what was asked already stands in the scope as ``pending``."""
        message = await receive()
        pending = scope.get("pending")
        if pending is None and is_whole(message):
            pending = self.ask(scope["headers"], message.get("body", b""))
        if pending is None:
            await hand_on(self._app, scope, [message], receive, send)
            return
        try:
            await pending.receipt
        except Exception as failure:  # the route's handlers have an answer to every one
            await hand_on(self._app, {**scope, "failure": failure}, [message], receive, send)
            return
        identifier, body = self.acknowledge(pending)
        length = (b"content-length", b"%d" % len(body))
        headers = (JSON, length, (b"x-request-id", identifier))
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def ask(self, headers: Headers, body: bytes) -> Pending | None:
        """Have the feedback stored; None if the request, whose ``body`` is whole, is not simply right."""
        started, predictor = perf_counter(), self._live.predictor
        if predictor is None or len(body) > self._body_bytes:
            return None
        asked = _read(headers, body, predictor)
        if asked is None:
            return None
        if isinstance(asked, ById):
            receipt: asyncio.Future[Receipt] = asyncio.ensure_future(self._find_and_store(asked, predictor))
        else:
            receipt = self._committer.ask(asked)
        self._tally.in_flight += 1
        receipt.add_done_callback(self._land)
        return Pending(receipt, headers, started)

    def acknowledge(self, pending: Pending) -> tuple[bytes, bytes]:
        """The request's identifier and the answer, once the receipt is there."""
        body = written(pending.receipt.result())
        self._tally.feedback(perf_counter() - pending.started)
        return request_id(pending.headers) or str(uuid7()).encode(), body

    async def _find_and_store(self, asked: ById, predictor: Predictor) -> Receipt:
        logged = await self._finder.find(asked.prediction_id)
        return await self._committer.ask(given.of_prediction(logged, asked.target, predictor.version))

    def _land(self, receipt: "asyncio.Future[Receipt]") -> None:
        self._tally.in_flight -= 1
        if not receipt.cancelled():
            receipt.exception()  # looked at: else asyncio would log a failure whose client is gone


def _read(headers: Headers, body: bytes, predictor: Predictor) -> ById | Given | None:
    """What the request says; None if it is wrong, or not simply right."""
    keys = [value for name, value in headers if name == b"idempotency-key"]
    if len(keys) > 1 or not all(1 <= len(key) <= LONGEST_KEY for key in keys):
        return None
    try:
        asked = _decode(body)
        return asked if isinstance(asked, ById) else _of_data(asked, keys[0] if keys else None, predictor)
    except (*UNREADABLE, InvalidRecord):
        return None


def _decode(body: bytes) -> ById | ByData:
    try:
        return _by_id(body)
    except msgspec.ValidationError:
        return _by_data(body)


def _of_data(asked: ByData, key: bytes | None, predictor: Predictor) -> Given:
    values, _ = predictor.read(bytes(asked.data))
    record, identifier = predictor.record(values), given.identifier(key.decode("latin-1") if key else None)
    return given.of_data(record, asked.prediction, asked.target, identifier, predictor.version, record)
