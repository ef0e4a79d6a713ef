"""Liveness, readiness, metrics."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool

from serving import metrics
from serving.parts import UsedParts
from serving.schemas import Health

router = APIRouter(tags=["health"])


@router.get("/livez", response_model_exclude_none=True)
async def livez() -> Health:
    """The process answers."""
    return Health(status="alive")


@router.get("/readyz")
async def readyz(parts: UsedParts) -> Health:
    """A verified version is loaded, and answers."""
    return Health(status="ready", model_version=parts.live.version.version)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def prometheus_metrics(parts: UsedParts) -> Response:
    """All metrics of all workers, in Prometheus' text format."""
    parts.tally.settle()
    current = parts.live.current.name if parts.live.is_ready else None
    return Response(await run_in_threadpool(metrics.exposition, current), media_type=CONTENT_TYPE_LATEST)
