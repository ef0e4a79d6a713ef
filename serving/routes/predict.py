"""POST /predict and POST /predict/batch."""

import json
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from starlette.concurrency import run_in_threadpool
from uuid_utils import uuid7

from boucle.artifacts import ModelVersion
from boucle.contract import Classes, Record
from boucle.errors import InvalidRecord
from boucle.store import PredictionRow, PredictionSource
from serving import bodies, metrics
from serving.journal import Journal
from serving.parts import UsedParts
from serving.problems import field_problems
from serving.schemas import Prediction

router = APIRouter(tags=["predict"])

CHUNK_ROWS = 500


@router.post("/predict", response_model=Prediction)
async def predict(request: Request, parts: UsedParts) -> Response:
    """Predict the class, or the quantity, of one datum."""
    version = parts.live.current
    record = version.contract.validate_json(await request.body())
    answers = await run_in_threadpool(_answer, version, [record], parts.journal)
    return Response(json.dumps(answers[0]), media_type="application/json")


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
    version = parts.live.current
    media_type = request.headers.get("content-type", "application/json").split(";")[0].strip().lower()
    rows = await run_in_threadpool(bodies.parse_rows, await request.body(), media_type, version.contract)

    async def lines() -> AsyncIterator[bytes]:
        for start in range(0, len(rows), CHUNK_ROWS):
            chunk = rows[start : start + CHUNK_ROWS]
            await parts.journal.room()
            yield await run_in_threadpool(_answer_chunk, version, chunk, start + 1, parts.journal)

    return StreamingResponse(lines(), media_type="application/x-ndjson")


def _answer(version: ModelVersion, records: list[Record], journal: Journal) -> list[dict[str, Any]]:
    """The answers of one version, whole; each is logged behind the answer."""
    started = time.perf_counter()
    outputs = version.outputs(records)
    seconds = (time.perf_counter() - started) / len(records)
    metrics.PREDICTION_SECONDS.observe(seconds)
    metrics.PREDICTIONS.labels(version.version).inc(len(records))
    target = version.contract.target
    names = [bodies.label_name(label) for label in target.classes] if isinstance(target, Classes) else []
    source = PredictionSource(version.version, "champion", version.contract.names, tuple(names))
    answers = []
    logged: list[PredictionRow] = []
    for record, row in zip(records, outputs.tolist(), strict=True):
        answer: dict[str, Any] = {
            "prediction_id": str(uuid7()),
            "prediction": target.decode(row),
            "probabilities": dict(zip(names, row, strict=True)) if names else {},
            "model_version": version.version,
        }
        logged.append((answer["prediction_id"], seconds, tuple(record.values()), answer["prediction"], row))
        answers.append(answer | {"warnings": version.contract.surprises(record)})
    journal.put_many(source, logged)
    return answers


def _answer_chunk(
    version: ModelVersion, rows: Sequence[Record | InvalidRecord], first_row: int, journal: Journal
) -> bytes:
    good = [row for row in rows if not isinstance(row, InvalidRecord)]
    answers = iter(_answer(version, good, journal) if good else ())
    lines = [
        {"row": number, "error": _row_error(row)}
        if isinstance(row, InvalidRecord)
        else {"row": number, **next(answers)}
        for number, row in enumerate(rows, first_row)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def _row_error(error: InvalidRecord) -> dict[str, Any]:
    return {"detail": str(error), "errors": [problem.model_dump() for problem in field_problems(error)]}
