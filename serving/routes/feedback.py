"""POST /feedback."""

import hashlib
import time
from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Request
from uuid_utils import uuid7

from boucle.artifacts import ServedVersion
from boucle.contract import Label, Target, show
from boucle.errors import EmbeddingChanged, PredictionNotFound
from boucle.store import Feedback, LoggedPrediction
from boucle.store import Receipt as StoredReceipt
from serving import bodies, metrics
from serving.parts import Parts, UsedParts
from serving.schemas import FeedbackByData, FeedbackById, Receipt

router = APIRouter(tags=["feedback"])

# The log is written behind the answers: a prediction this young may still be on its way, from another worker too.
ON_ITS_WAY_SECONDS = 2.0
LOOK_AGAIN_SECONDS = 0.05
EMBEDDING_TRIES = 5


@router.post("/feedback", status_code=201, response_model=Receipt)
async def give_feedback(
    request: Request,
    parts: UsedParts,
    idempotency_key: Annotated[
        str | None,
        Header(description="With data: the same key again changes nothing.", min_length=1, max_length=255),
    ] = None,
) -> StoredReceipt:
    """Say what the true class was: of a prediction made here, or of any datum.

    Repeating a `prediction_id`, or an `Idempotency-Key`, stores nothing twice and gets the same answer.
    """
    content = bodies.parse_json(await request.body())
    if isinstance(content, dict) and "prediction_id" not in content:
        by_data = bodies.parse(FeedbackByData, content)
        return await run_sync(_accept_data, by_data, idempotency_key, parts, limiter=parts.store_threads)
    by_id = bodies.parse(FeedbackById, content)
    logged = await _find(by_id.prediction_id, parts)
    return await run_sync(_accept, logged, by_id, parts, limiter=parts.store_threads)


async def _find(prediction_id: str, parts: Parts) -> LoggedPrediction:
    deadline = time.monotonic() + _seconds_on_its_way(prediction_id)
    while True:
        found = await run_sync(parts.store.predictions.find, prediction_id, limiter=parts.store_threads)
        if found is not None:
            return found
        if time.monotonic() >= deadline:
            raise PredictionNotFound(
                f"prediction_id {show(prediction_id)} is not in the log; send data, prediction and target instead"
            )
        await anyio.sleep(LOOK_AGAIN_SECONDS)


def _seconds_on_its_way(prediction_id: str) -> float:
    """How long a prediction may still be missing from the log; its identifier, a UUID of version 7, holds its time."""
    try:
        identifier = UUID(prediction_id)
    except ValueError:
        return 0.0
    age_seconds = time.time() - (identifier.int >> 80) / 1000
    return ON_ITS_WAY_SECONDS if 0 <= age_seconds < ON_ITS_WAY_SECONDS else 0.0


def _accept(logged: LoggedPrediction, given: FeedbackById, parts: Parts) -> StoredReceipt:
    def feedback(version: ServedVersion) -> Feedback:
        target = version.contract.target
        return Feedback(
            prediction_id=logged.prediction_id,
            input=logged.input,
            vector=version.embedding.vectors([version.contract.validate_record(logged.input)])[0],
            prediction=logged.prediction,
            model_version=logged.model_version,
            **_truth(target, given.target),
        )

    return _add(feedback, parts)


def _accept_data(given: FeedbackByData, idempotency_key: str | None, parts: Parts) -> StoredReceipt:
    # Without a key two equal rows are two observations: real tables hold many, and none may be lost.
    identifier = f"key:{hashlib.sha256(idempotency_key.encode()).hexdigest()[:40]}" if idempotency_key else str(uuid7())

    def feedback(version: ServedVersion) -> Feedback:
        target, record = version.contract.target, version.contract.validate_record(given.data)
        return Feedback(
            prediction_id=identifier,
            input=record,
            vector=version.embedding.vectors([record])[0],
            prediction=target.normal(given.prediction, "prediction"),
            model_version=None,
            **_truth(target, given.target),
        )

    return _add(feedback, parts)


def _truth(target: Target, value: Label) -> dict[str, Any]:
    """The fields of `Feedback` that tell what was true."""
    if target.may_become_class(value):
        known = f"{show(value)} is no class of {target.name} yet"
        return {"target": value, "set_aside": f"{known}: kept aside, and learnt once there are enough such rows"}
    return {"target": target.normal(value)}


def _add(feedback: Callable[[ServedVersion], Feedback], parts: Parts) -> StoredReceipt:
    for _ in range(EMBEDDING_TRIES):
        version = parts.live.version
        try:
            receipts = parts.store.feedback.add([feedback(version)], version.embedding.id)
        except EmbeddingChanged as change:
            # Another worker swapped to a new embedding a moment ago: follow it now, and embed again.
            changed = change
            parts.watcher.check()
        else:
            metrics.FEEDBACK.inc()
            return receipts[0]
    raise changed
