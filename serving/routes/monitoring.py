"""How the model does in production, as the observer saw it; and the request for a report."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query

from boucle.monitoring.observation import Monitoring, Observation, Point
from boucle.monitoring.reports import request_report
from serving.parts import UsedParts
from serving.schemas import ReportRequest

router = APIRouter(tags=["monitoring"])

POINTS_SHOWN = 200

Columns = Annotated[
    int | None, Query(ge=1, description="Of the history, only the columns that moved farthest at any time.")
]


@router.get("/monitoring")
def monitoring(parts: UsedParts, columns: Columns = None) -> Monitoring:
    """The last observation, and a history of those before it."""
    observations = parts.store.observations
    newest = observations.newest()
    history = [Point.model_validate_json(point) for point in observations.points(POINTS_SHOWN)]
    return Monitoring(
        latest=Observation.model_validate_json(newest.content) if newest else None,
        history=history if columns is None else _of_farthest(history, columns),
    )


@router.post("/reports", status_code=202)
def request(parts: UsedParts) -> ReportRequest:
    """Request Evidently reports now, instead of at the next interval."""
    return ReportRequest(requested_at=request_report(parts.data).isoformat(timespec="milliseconds"))


def _of_farthest(history: Sequence[Point], columns: int) -> list[Point]:
    """The same with that many columns at most: of hundreds, all would be megabytes."""
    most: dict[str, float] = {}
    for point in history:
        for column, size in point.sizes.items():
            most[column] = max(size, most.get(column, 0.0))
    chosen = set(sorted(most, key=lambda column: -most[column])[:columns])
    return [
        point.model_copy(update={"sizes": {name: size for name, size in point.sizes.items() if name in chosen}})
        for point in history
    ]
