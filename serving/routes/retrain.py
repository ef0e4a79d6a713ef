"""POST /retrain, and the runs that follow."""

from typing import Annotated

from fastapi import APIRouter, Header, Path, Response

from serving.parts import UsedParts
from serving.schemas import Retraining, TrainingRun

router = APIRouter(tags=["retrain"])

RUNS_SHOWN = 20


@router.post("/retrain", status_code=202)
def request_retraining(
    response: Response,
    parts: UsedParts,
    idempotency_key: Annotated[
        str | None, Header(description="The same key again gives the same run.", min_length=1, max_length=255)
    ] = None,
) -> TrainingRun:
    """Request a training run; follow it at the address in `Location`."""
    run = parts.store.runs.request("manual", idempotency_key)
    response.headers["Location"] = f"/retrain/{run.id}"
    return TrainingRun.of(run)


@router.get("/retrain")
def retraining(parts: UsedParts) -> Retraining:
    """How far the next retraining is, and the last runs."""
    feedback = parts.store.feedback
    runs = [TrainingRun.of(run) for run in parts.store.runs.newest(RUNS_SHOWN)]
    return Retraining(
        k=parts.project.feedback.k,
        feedback_rows=feedback.rows(),
        rows_to_next_retraining=feedback.rows_to_next_retraining(),
        runs=runs,
    )


@router.get("/retrain/{run_id}")
def training_run(run_id: Annotated[int, Path(ge=1, lt=2**31)], parts: UsedParts) -> TrainingRun:
    """One training run: its state, its verdict and the reason."""
    return TrainingRun.of(parts.store.runs.get(run_id))
