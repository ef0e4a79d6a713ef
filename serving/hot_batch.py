"""`POST /predict/batch` before the framework, as `serving.hot` does it for single predictions, and for the same reason.

A JSON array of one chunk without a mistake is read, scored, logged and answered in one go. All other batches go to the
route in `serving.routes.predict`: long ones, whose answers are streamed, those with a mistake, NDJSON and CSV.
"""

from collections.abc import Sequence
from time import perf_counter

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.types import Message, Receive, Scope, Send
from uuid_utils import uuid7

from serving import batch, metrics
from serving.hot import hand_on, request_id
from serving.journal import Journal
from serving.live import LiveModel
from serving.predictor import CHUNK_ROWS, Predictor

PATH = "/predict/batch"
NDJSON = (b"content-type", batch.NDJSON[0].encode())


class HotBatch:
    """Answers right requests for a chunk of predictions."""

    def __init__(self, app: FastAPI, live: LiveModel, journal: Journal, body_bytes: int) -> None:
        self._app = app
        self._body_bytes = min(body_bytes, batch.AT_ONCE_BYTES)
        self._live = live
        self._journal = journal
        self._answered = metrics.REQUESTS.labels("POST", PATH, 200)
        self._seconds = metrics.REQUEST_SECONDS.labels(PATH)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As an ASGI application."""
        started, predictor = perf_counter(), self._live.predictor
        taken = await _take(receive, self._body_bytes)
        body = _body(taken)
        answered = None
        if predictor and _is_json(scope) and len(body) <= self._body_bytes and not taken[-1].get("more_body"):
            with metrics.IN_FLIGHT.track_inprogress():
                await self._journal.room()
                answered = await run_in_threadpool(_answer, predictor, body)
        if answered is None:
            await hand_on(self._app, scope, taken, receive, send)
            return
        length = (b"content-length", b"%d" % len(answered))
        identifier = (b"x-request-id", request_id(scope["headers"]) or str(uuid7()).encode())
        await send({"type": "http.response.start", "status": 200, "headers": (NDJSON, length, identifier)})
        await send({"type": "http.response.body", "body": answered})
        self._answered.inc()
        self._seconds.observe(perf_counter() - started)


async def _take(receive: Receive, most_bytes: int) -> Sequence[Message]:
    """What comes of a body, until it ends or is longer than that; or until its client is gone."""
    taken, size = [await receive()], 0
    while taken[-1].get("more_body"):
        size += len(taken[-1]["body"])
        if size > most_bytes:
            break
        taken.append(await receive())
    return taken


def _body(taken: Sequence[Message]) -> bytes:
    return b"".join([message.get("body", b"") for message in taken])


def _is_json(scope: Scope) -> bool:
    return all(value == batch.JSON.encode() for name, value in scope["headers"] if name == b"content-type")


def _answer(predictor: Predictor, body: bytes) -> bytes | None:
    """The lines of the answer; None if something is not simply right."""
    try:
        rows = predictor.reader.read_many(body)
        return batch.answer(predictor, predictor.reader.chunk(rows), 1) if 0 < len(rows) <= CHUNK_ROWS else None
    except Exception:  # the route will fail alike, where mistakes are explained, and failures logged
        return None
