"""Versions: list them, read their cards, promote one."""

import math
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from starlette.concurrency import run_in_threadpool

from boucle.artifacts import Manifest, Pointer
from serving import bodies
from serving.parts import Parts, UsedParts
from serving.schemas import Models, ModelSummary, PromoteBody

router = APIRouter(tags=["models"])

Version = Annotated[str, Path(max_length=32)]


@router.get("/models")
def models(parts: UsedParts) -> Models:
    """The champion and every version, newest first."""
    return _models(parts, parts.artifacts.champion())


@router.get("/models/{version}")
def model(version: Version, parts: UsedParts) -> dict[str, Any]:
    """The manifest of a version, with its model card in Markdown."""
    manifest = parts.artifacts.manifest(version)
    content = manifest.model_dump(mode="json") | {"metrics": _finite(manifest)}
    return content | {"model_card": parts.artifacts.model_card(version)}


@router.post("/models/{version}/promote")
async def promote(version: Version, request: Request, parts: UsedParts) -> Models:
    """Make a version the champion: the next one, or an old one again. It is loaded and verified first."""
    body = await request.body()
    given = bodies.parse(PromoteBody, bodies.parse_json(body) if body else {})
    return await run_in_threadpool(_promote, version, given, parts)


def _promote(version: str, given: PromoteBody, parts: Parts) -> Models:
    current = parts.artifacts.champion_version()
    if version != current:
        parts.artifacts.promote(version, replacing=current, reason=given.reason, actor=given.actor)
    # The answer comes from a process that already serves the version; the others follow within their watch.
    parts.watcher.check()
    return _models(parts, parts.artifacts.champion())


def _models(parts: Parts, pointer: Pointer) -> Models:
    manifests = [parts.artifacts.manifest(version) for version in reversed(parts.artifacts.versions())]
    return Models(
        champion=pointer.version,
        previous=pointer.previous,
        promoted_at=pointer.promoted_at,
        reason=pointer.reason,
        actor=pointer.actor,
        models=[
            ModelSummary(
                version=manifest.version,
                created_at=manifest.created_at,
                is_champion=manifest.version == pointer.version,
                algorithm=manifest.algorithm,
                metric=manifest.metric,
                metrics=_finite(manifest),
                parent_version=manifest.parent_version,
                rows=manifest.reference_rows + manifest.feedback_row,
            )
            for manifest in manifests
        ],
    )


def _finite(manifest: Manifest) -> dict[str, dict[str, float | None]]:
    """The metrics as JSON can hold them: null where one is undefined."""
    return {
        where: {name: None if math.isnan(value) else value for name, value in values.items()}
        for where, values in manifest.metrics.items()
    }
