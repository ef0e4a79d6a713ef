"""POST /predict and POST /predict/batch."""

from collections.abc import AsyncIterator, Iterator

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from boucle.errors import BoucleError
from boucle.rows import Chunk
from serving import batch
from serving.bodies import wrong_body
from serving.parts import UsedParts
from serving.predictor import Predictor, encode
from serving.schemas import Prediction

router = APIRouter(tags=["predict"])


@router.post("/predict", response_model=Prediction)
async def predict(request: Request, parts: UsedParts) -> Response:
    """Predict the class, or the quantity, of one datum."""
    # Right requests are usually answered by `serving.hot`, before they come here.
    predictor = parts.live.current
    values, warnings = predictor.read_or_explain(await request.body())
    answer, seconds = await run_in_threadpool(predictor.answer, values, warnings)
    parts.tally.prediction(answer.model_version, seconds)
    return Response(encode(answer), media_type="application/json")


@router.post(
    "/predict/batch",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "One JSON object a row, in order: the prediction, or the row's error.",
            "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
        }
    },
)
async def predict_batch(request: Request, parts: UsedParts) -> StreamingResponse:
    """Predict many data: a JSON array, NDJSON, or CSV with a header line. One version answers them all."""
    # Right JSON arrays that are not too long are answered by `serving.hot_batch`, before they come here.
    predictor = parts.live.current
    media_type = request.headers.get("content-type", batch.JSON).split(";")[0].strip().lower()
    limit = parts.project.limits.body_bytes
    file = await batch.spool(request.stream(), parts.data, limit)
    try:
        chunks = await run_in_threadpool(batch.chunks, file, media_type, predictor, limit)
        first = await run_in_threadpool(next, chunks, None)
        if first is None:
            raise wrong_body("holds no row")
    except BoucleError:
        file.close()
        raise

    async def lines() -> AsyncIterator[bytes]:
        chunk: Chunk | None = first
        row = 1
        with file:
            while chunk is not None:
                content, following = await run_in_threadpool(_answer, predictor, chunk, row, chunks)
                yield content
                row += len(chunk.rows)
                chunk = following
                await parts.journal.room()

    return StreamingResponse(lines(), media_type="application/x-ndjson")


def _answer(predictor: Predictor, chunk: Chunk, row: int, chunks: Iterator[Chunk]) -> tuple[bytes, Chunk | None]:
    """The answers to a chunk, and the next one."""
    return batch.answer(predictor, chunk, row), next(chunks, None)
