"""Request and response bodies; those that depend on the project are made from its contract."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from boucle.contract import NO_NUL, Boolean, Category, Contract, Label, Number, Text
from boucle.store import Run

MOST_NAMES_SHOWN = 12


class Body(BaseModel):
    """A request body: closed to unknown fields."""

    model_config = ConfigDict(extra="forbid")


class FeedbackById(Body):
    """The true class of a prediction that was made here."""

    prediction_id: Text = Field(min_length=1, max_length=64)
    target: Label


class FeedbackByData(Body):
    """The true class of any datum, with the class that was predicted for it."""

    data: dict[str, Any]
    prediction: Label
    target: Label


class PromoteBody(Body):
    """Why a version is promoted by hand, and who did it."""

    reason: Text = Field("by hand", max_length=500)
    actor: Text = Field("api", max_length=100)


class Prediction(BaseModel):
    """The answer of one version, whole: class, probabilities, and the version that gave them."""

    prediction_id: str
    prediction: Label
    probabilities: dict[str, float]
    model_version: str
    warnings: list[str]


class Receipt(BaseModel):
    """What became of a feedback."""

    model_config = ConfigDict(from_attributes=True)

    row: int
    prediction_id: str
    target: Label
    prediction: Label
    retraining_requested: bool
    run_id: int | None
    rows_to_next_retraining: int | None


class TrainingRun(BaseModel):
    """One training run, from its request to its verdict."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    trigger: str
    trigger_reason: str | None
    state: Literal["requested", "running", "finished", "failed", "coalesced"]
    verdict: Literal["promoted", "rejected", "superseded", "insufficient evidence"] | None
    strategy: str | None
    requested_at: str
    started_at: str | None
    finished_at: str | None
    parent_version: str | None
    version: str | None
    reason: str | None
    metrics: dict[str, float | str]
    mlflow_run_id: str | None
    coalesced_into: int | None

    @classmethod
    def of(cls, run: Run) -> "TrainingRun":
        """The run as clients see it."""
        return cls.model_validate(run)


class Retraining(BaseModel):
    """How far the next retraining is, and the last ones, newest first."""

    k: int
    feedback_rows: int
    rows_to_next_retraining: int | None
    runs: list[TrainingRun]


class ModelSummary(BaseModel):
    """A version in the list of versions."""

    version: str
    created_at: str
    is_champion: bool
    algorithm: str
    metric: str
    metrics: dict[str, dict[str, float | None]]
    parent_version: str | None
    rows: int


class Models(BaseModel):
    """The champion, and every version, newest first."""

    champion: str
    previous: str | None
    promoted_at: str
    reason: str
    actor: str
    models: list[ModelSummary]


class Health(BaseModel):
    """Alive, or ready with a version."""

    status: Literal["alive", "ready"]
    model_version: str | None = None


class FieldProblem(BaseModel):
    """One wrong field: its value as text, and what is allowed."""

    field: str
    value: str
    message: str


class Problem(BaseModel):
    """Problem details (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldProblem] = []
    request_id: str = ""


def datum_schema(contract: Contract) -> dict[str, Any]:
    """JSON Schema of one datum: the project's real columns, what was seen of them, and a real row."""
    return {
        "title": "Datum",
        "type": "object",
        "additionalProperties": False,
        "required": list(contract.names),
        "properties": {feature.name: _property(feature) for feature in contract.features},
        "examples": [contract.example],
    }


def target_schema(contract: Contract) -> dict[str, Any]:
    """JSON Schema of a class label."""
    return {"title": contract.target.name, "enum": list(contract.target.classes)}


def _property(feature: Number | Boolean | Category) -> dict[str, Any]:
    schema: dict[str, Any]
    match feature:
        case Number():
            seen = f"seen {feature.minimum:g} to {feature.maximum:g}, median {feature.median:g}"
            observed = feature.model_dump(include={"minimum", "maximum", "median", "integer"})
            lowest, highest = feature.limits
            schema = {"type": "number", "minimum": lowest, "maximum": highest}
            more = {"description": seen, "x-observed": observed}
        case Boolean():
            schema, more = {"type": "boolean"}, {"description": "true or false"}
        case Category():
            shown = ", ".join(feature.categories[:MOST_NAMES_SHOWN])
            dots = ", …" if len(feature.categories) > MOST_NAMES_SHOWN else ""
            schema, more = (
                {"type": "string", "pattern": NO_NUL},
                {"description": f"seen {shown}{dots}", "examples": list(feature.categories)},
            )
    return ({"anyOf": [schema, {"type": "null"}]} if feature.nullable else schema) | more
