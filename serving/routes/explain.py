"""POST /explain."""

from functools import partial

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Request
from fastapi.responses import Response

from boucle import explanation
from boucle.artifacts import Artifacts, ServedVersion
from boucle.contract import Contract
from boucle.errors import ModelNotFound, PredictionNotFound
from boucle.rows import Values
from boucle.store import LoggedPrediction
from serving import bodies
from serving.parts import UsedParts
from serving.schemas import Contribution, ExplainById, Explanation

router = APIRouter(tags=["predict"])

# An explanation scores thousands of rows: however many are asked for, predictions must not wait behind them.
ONE_AT_A_TIME = CapacityLimiter(1)


@router.post("/explain", response_model=Explanation)
async def explain(request: Request, parts: UsedParts) -> Response:
    """What each column adds to the answer to a datum, or to a prediction that was made here.

    A datum is explained by the version in service, a `prediction_id` by the version that made it. The contributions
    add up to `output - base`, `base` being what the version answers to the `background` on average.
    """
    body, predictor = await request.body(), parts.live.current
    prediction_id = _asked_for(body, predictor.contract)
    if prediction_id is None:
        work = partial(_explained, predictor.version, predictor.read_or_explain(body)[0])
    else:
        logged = await parts.finder.find(prediction_id, instead="its data")
        work = partial(_explained_again, logged, predictor.version, parts.artifacts)
    explained = await to_thread.run_sync(work, limiter=ONE_AT_A_TIME)
    return Response(explained.model_dump_json(), media_type="application/json")


def _asked_for(body: bytes, contract: Contract) -> str | None:
    """The identifier that the body names in place of a datum."""
    content = bodies.parse_json(body)
    if not isinstance(content, dict) or "prediction_id" not in content or "prediction_id" in contract.names:
        return None
    return bodies.parse(ExplainById, content).prediction_id


def _explained_again(logged: LoggedPrediction, live: ServedVersion, artifacts: Artifacts) -> Explanation:
    version = live if logged.model_version == live.version else _kept(logged.model_version, artifacts)
    return _explained(version, tuple(version.contract.validate_record(logged.input).values()))


def _kept(version: str, artifacts: Artifacts) -> ServedVersion:
    try:
        return artifacts.load_served(version)
    except ModelNotFound as gone:
        raise PredictionNotFound(f"{version}, which made it, is kept no longer; send its data instead") from gone


def _explained(version: ServedVersion, values: Values) -> Explanation:
    found = explanation.explain(version, values)
    columns = zip(version.contract.names, values, found.contributions.tolist(), strict=True)
    return Explanation(
        model_version=version.version,
        prediction=found.prediction,
        method=found.method,
        scale=found.scale,
        base=found.base,
        output=found.output,
        contributions=sorted(
            (Contribution(column=name, value=value, contribution=amount) for name, value, amount in columns),
            key=lambda one: -abs(one.contribution),
        ),
        standard_error=found.standard_error,
        background=found.background,
    )
