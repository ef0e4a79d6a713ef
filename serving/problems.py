"""Errors as HTTP knows them: problem details (RFC 9457), and the one table from exception to status."""

import logging
import re

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from boucle import errors
from boucle.contract import show
from serving.schemas import FieldProblem, Problem

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


class BodyTooLarge(errors.BoucleError):
    """The request's body is longer than limits.body_bytes."""


class UnsupportedBody(errors.BoucleError):
    """The body's media type is none that the route reads."""


STATUSES: dict[type[errors.BoucleError], tuple[int, str]] = {
    errors.InvalidRecord: (422, "Invalid input"),
    errors.PredictionNotFound: (404, "Unknown prediction"),
    errors.FeedbackConflict: (409, "Feedback conflicts with an earlier one"),
    errors.RunNotFound: (404, "Unknown training run"),
    errors.ModelNotFound: (503, "No model yet"),
    errors.NobodyInCharge: (404, "No champion yet at that time"),
    errors.ChampionMoved: (409, "The champion moved"),
    errors.CorruptArtifact: (409, "The version is damaged"),
    errors.EmbeddingChanged: (503, "The model is being replaced"),
    BodyTooLarge: (413, "Body too large"),
    UnsupportedBody: (415, "Unsupported media type"),
}


def problem(
    request: Request, status: int, title: str, detail: str, fields: tuple[FieldProblem, ...] = ()
) -> JSONResponse:
    """An error answer; ``detail`` and ``fields`` are what the client can act on."""
    body = Problem(
        type="urn:boucle:problem:" + re.sub(r"[^a-z]+", "-", title.lower()),
        title=title,
        status=status,
        detail=detail,
        errors=list(fields),
        request_id=request.scope.get("request_id", ""),
    )
    headers = {"Retry-After": "1"} if status == 503 else None
    return JSONResponse(body.model_dump(), status, headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every exception with a problem."""

    @app.exception_handler(errors.BoucleError)
    async def on_purpose(request: Request, error: errors.BoucleError) -> JSONResponse:
        status, title = STATUSES.get(type(error), (500, "Internal error"))
        if isinstance(error, errors.ModelNotFound) and "version" in request.path_params:
            status, title = 404, "Unknown version"
        return problem(request, status, title, str(error), field_problems(error))

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        fields = tuple(
            FieldProblem(
                field=".".join(map(str, detail["loc"])), value=show(detail.get("input")), message=detail["msg"]
            )
            for detail in error.errors()
        )
        return problem(request, 422, "Invalid input", f"{fields[0].field}: {fields[0].message}", fields)

    @app.exception_handler(HTTPException)
    async def by_the_framework(request: Request, error: HTTPException) -> JSONResponse:
        answer = problem(request, error.status_code, str(error.detail), f"{request.method} {request.url.path}")
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(SQLAlchemyError)
    async def store_away(request: Request, error: SQLAlchemyError) -> JSONResponse:
        log.error("%s %s: the store failed", request.method, request.url.path, exc_info=error)
        return problem(request, 503, "The store is away", "nothing was stored; send the same request again later")

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return problem(request, 500, "Internal error", "the server's log says more under this request_id")


def field_problems(error: errors.BoucleError) -> tuple[FieldProblem, ...]:
    """The wrong fields that an error names."""
    found = error.errors if isinstance(error, errors.InvalidRecord) else ()
    return tuple(FieldProblem(field=one.field, value=one.value, message=one.message) for one in found)
