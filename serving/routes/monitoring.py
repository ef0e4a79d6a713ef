"""How the model does in production, as the observer saw it; and the request for a report."""

from fastapi import APIRouter

from boucle.monitoring.observation import Monitoring, Observation, Point
from boucle.monitoring.reports import request_report
from serving.parts import UsedParts
from serving.schemas import ReportRequest

router = APIRouter(tags=["monitoring"])

POINTS_SHOWN = 200


@router.get("/monitoring")
def monitoring(parts: UsedParts) -> Monitoring:
    """The last observation, and a history of those before it."""
    observations = parts.store.observations
    newest = observations.newest()
    return Monitoring(
        latest=Observation.model_validate_json(newest.content) if newest else None,
        history=[Point.model_validate_json(point) for point in observations.points(POINTS_SHOWN)],
    )


@router.post("/reports", status_code=202)
def request(parts: UsedParts) -> ReportRequest:
    """Request Evidently reports now, instead of at the next interval."""
    return ReportRequest(requested_at=request_report(parts.data).isoformat(timespec="milliseconds"))
