"""POST /feedback."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Header, Request
from fastapi.responses import Response
from msgspec.structs import asdict

from boucle.store import Receipt as StoredReceipt
from serving import bodies, given, metrics
from serving.parts import UsedParts
from serving.schemas import FeedbackByData, FeedbackById, Receipt

router = APIRouter(tags=["feedback"])

LONGEST_KEY = 255

_encode = msgspec.json.Encoder().encode


@router.post("/feedback", status_code=201, response_model=Receipt)
async def give_feedback(
    request: Request,
    parts: UsedParts,
    idempotency_key: Annotated[
        str | None,
        Header(description="With data: the same key again changes nothing.", min_length=1, max_length=LONGEST_KEY),
    ] = None,
) -> Response:
    """Say what the true class was: of a prediction made here, or of any datum.

    Repeating a `prediction_id`, or an `Idempotency-Key`, stores nothing twice and gets the same answer.
    """
    # Right requests are usually stored by `serving.hot_feedback`; what went wrong there is explained here.
    if "failure" in request.scope:
        raise request.scope["failure"]
    content = bodies.parse_json(await request.body())
    if isinstance(content, dict) and "prediction_id" not in content:
        by_data, name = bodies.parse(FeedbackByData, content), given.identifier(idempotency_key)
        told = given.of_data(by_data.data, by_data.prediction, by_data.target, name, parts.live.version)
    else:
        by_id = bodies.parse(FeedbackById, content)
        logged = await parts.finder.find(by_id.prediction_id)
        told = given.of_prediction(logged, by_id.target, parts.live.version)
    receipt = await parts.committer.ask(told)
    metrics.FEEDBACK.inc()
    return Response(written(receipt), status_code=201, media_type="application/json")


def written(receipt: StoredReceipt) -> bytes:
    """The receipt as `serving.schemas.Receipt` describes it."""
    return _encode({**asdict(receipt), "retraining_requested": receipt.retraining_requested})
