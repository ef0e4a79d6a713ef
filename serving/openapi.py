"""The OpenAPI page, made from the contract of the version in service: real columns, real ranges, a real row."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from boucle.artifacts import ServedVersion
from boucle.contract import Classes, Label, Target
from serving.live import LiveModel
from serving.problems import MEDIA_TYPE
from serving.schemas import ExplainById, FeedbackByData, FeedbackById, Problem, PromoteBody, datum_schema, target_schema

Json = dict[str, Any]

REFUSALS = {
    "/predict": (413, 422, 503),
    "/predict/batch": (413, 415, 422, 503),
    "/explain": (404, 409, 413, 422, 503),
    "/feedback": (404, 409, 413, 422, 503),
    "/retrain": (422, 503),
    "/retrain/{run_id}": (404, 422, 503),
    "/models": (404, 409, 422, 503),
    "/monitoring": (422, 503),
    "/models/{version}": (404, 409, 422, 503),
    "/models/{version}/promote": (404, 409, 413, 422, 503),
    "/readyz": (503,),
}


def install(app: FastAPI, live: LiveModel) -> None:
    """Make ``app`` describe itself with the contract of the version that is live when it is asked."""
    cache: dict[str, Json] = {}

    def describe() -> Json:
        version = live.version if live.is_ready else None
        name = version.version if version else ""
        if name not in cache:
            cache.clear()
            cache[name] = _document(app, version)
        return cache[name]

    app.openapi = describe  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _document(app: FastAPI, version: ServedVersion | None) -> Json:
    document = get_openapi(title=app.title, version=app.version, routes=app.routes, description=_introduction(version))
    schemas = document["components"]["schemas"]
    schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= schemas["Problem"].pop("$defs", {})
    schemas |= {model.__name__: model.model_json_schema() for model in (ExplainById, FeedbackById, FeedbackByData)}
    schemas["Datum"] = datum_schema(version.contract) if version else {"type": "object"}
    schemas["Target"] = target_schema(version.contract) if version else {}
    for name in ("FeedbackById", "FeedbackByData"):
        properties = schemas[name]["properties"]
        properties["target"] = _reference("Target")
        if "data" in properties:
            properties |= {"data": _reference("Datum"), "prediction": _reference("Target")}
    _describe_bodies(document["paths"], version)
    _describe_refusals(document["paths"])
    return document


def _introduction(version: ServedVersion | None) -> str:
    if version is None:
        return "No model is loaded yet: run `make train`."
    return (
        f"Predicts **{version.contract.target.name}** with version {version.version} "
        f"({version.manifest.algorithm.replace('_', ' ')})."
    )


def _describe_bodies(paths: Json, version: ServedVersion | None) -> None:
    row: Json = version.contract.example if version else {}
    label = _some_truth(version.contract.target) if version else None
    paths["/predict"]["post"]["requestBody"] = _body({"application/json": (_reference("Datum"), row)})
    paths["/predict/batch"]["post"]["requestBody"] = _body(
        {
            "application/json": ({"type": "array", "items": _reference("Datum"), "minItems": 1}, [row]),
            "application/x-ndjson": ({"type": "string", "minLength": 1}, None),
            "text/csv": ({"type": "string", "minLength": 1}, None),
        }
    )
    explained = {"anyOf": [_reference("Datum"), _reference("ExplainById")]}
    paths["/explain"]["post"]["requestBody"] = _body({"application/json": (explained, row)})
    feedback = {"anyOf": [_reference("FeedbackByData"), _reference("FeedbackById")]}
    example = {"data": row, "prediction": label, "target": label}
    paths["/feedback"]["post"]["requestBody"] = _body({"application/json": (feedback, example)})
    promote = PromoteBody.model_json_schema()
    paths["/models/{version}/promote"]["post"]["requestBody"] = _body(
        {"application/json": (promote, {"reason": "looks better on my rows", "actor": "me"})}, required=False
    )
    for path in ("/models/{version}", "/models/{version}/promote"):
        for operation in paths[path].values():
            operation["parameters"][0]["example"] = version.version if version else "v1"
    paths["/retrain/{run_id}"]["get"]["parameters"][0]["example"] = 1


def _some_truth(target: Target) -> Label:
    return target.classes[0] if isinstance(target, Classes) else target.median


def _describe_refusals(paths: Json) -> None:
    for path, statuses in REFUSALS.items():
        for operation in paths[path].values():
            for status in statuses:
                operation["responses"][str(status)] = {
                    "description": "Problem details (RFC 9457)",
                    "content": {MEDIA_TYPE: {"schema": _reference("Problem")}},
                }


def _body(contents: dict[str, tuple[Json, Any]], required: bool = True) -> Json:
    described = {
        media_type: {"schema": schema} | ({} if example is None else {"example": example})
        for media_type, (schema, example) in contents.items()
    }
    return {"required": required, "content": described}


def _reference(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}
