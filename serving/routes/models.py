"""Versions: list them, read their cards, promote one; and who was champion when, and why."""

import math
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from boucle.artifacts import Manifest
from boucle.contract import show
from boucle.errors import CorruptArtifact, FieldError, InvalidRecord, ModelNotFound
from boucle.pacing import breathe
from serving import bodies
from serving.parts import Parts, UsedParts
from serving.schemas import DamagedVersion, Models, ModelSummary, PromoteBody, Reign

router = APIRouter(tags=["models"])

REIGNS_SHOWN = 100

Version = Annotated[str, Path(max_length=32)]
Moment = Annotated[
    str | None,
    Query(
        description="A date and time, UTC unless it names a zone: `champion_at` says who was champion then.",
        examples=["2026-11-20T10:00:00Z"],
    ),
]


@router.get("/models")
def models(parts: UsedParts, at: Moment = None) -> Models:
    """The champion, every version, and who was champion before; all newest first."""
    if at is None:
        return _models(parts)
    reign = parts.artifacts.champion_at(_moment(at))
    return _models(parts).model_copy(update={"champion_at": Reign.of(reign)})


@router.get("/models/{version}")
def model(version: Version, parts: UsedParts) -> dict[str, Any]:
    """The manifest of a version, with its model card in Markdown."""
    manifest = parts.artifacts.manifest(version)
    content = manifest.model_dump(mode="json") | {"metrics": _finite(manifest)}
    return content | {"model_card": parts.artifacts.model_card(version)}


@router.post("/models/{version}/promote", response_model=Models)
async def promote(version: Version, request: Request, parts: UsedParts) -> Response:
    """Make a version the champion: the next one, or an old one again. It is loaded and verified first."""
    body = await request.body()
    given = bodies.parse(PromoteBody, bodies.parse_json(body) if body else {})
    return await run_in_threadpool(_promote, version, given, parts)


def _promote(version: str, given: PromoteBody, parts: Parts) -> Response:
    replacing = parts.artifacts.champion_version() if given.replacing is None else given.replacing
    parts.artifacts.promote(version, replacing=replacing, reason=given.reason, actor=given.actor)
    breathe()
    # The answer comes from a process that already serves the version; the others follow within their watch.
    parts.watcher.check()
    breathe()
    # Written here: FastAPI would do it in the event loop, and check it all once more before.
    return Response(_models(parts).model_dump_json(by_alias=True), media_type="application/json")


def _models(parts: Parts) -> Models:
    reigns = list(islice(parts.artifacts.reigns(), REIGNS_SHOWN))
    promotion = reigns[0].promotion
    summaries: list[ModelSummary] = []
    damaged: list[DamagedVersion] = []
    for version in reversed(parts.artifacts.versions()):
        try:
            summaries.append(_summary(parts.artifacts.manifest(version), promotion.version))
        except CorruptArtifact as damage:  # one bad version must not hide the others
            damaged.append(DamagedVersion(version=version, reason=str(damage)))
        except ModelNotFound:  # pruned a moment ago
            continue
    return Models(
        champion=promotion.version,
        previous=promotion.previous,
        promoted_at=promotion.promoted_at,
        reason=promotion.reason,
        actor=promotion.actor,
        models=summaries,
        damaged=damaged,
        history=[Reign.of(reign) for reign in reigns],
    )


def _summary(manifest: Manifest, champion: str) -> ModelSummary:
    return ModelSummary(
        version=manifest.version,
        created_at=manifest.created_at,
        is_champion=manifest.version == champion,
        algorithm=manifest.algorithm,
        metric=manifest.metric,
        metrics=_finite(manifest),
        parent_version=manifest.parent_version,
        rows=manifest.reference_rows + manifest.feedback_row,
        strategy=manifest.strategy,
        verdict=manifest.verdict,
        run_id=manifest.run_id,
    )


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        message = "must be a date and time such as 2026-11-20T10:00:00Z; in a URL, the + of a time zone is %2B"
        raise InvalidRecord([FieldError("at", show(text), message)]) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _finite(manifest: Manifest) -> dict[str, dict[str, float | None]]:
    """The metrics as JSON can hold them: null where one is undefined."""
    return {
        where: {name: None if math.isnan(value) else value for name, value in values.items()}
        for where, values in manifest.metrics.items()
    }
