"""Request and response bodies; those that depend on the project are made from its contract."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from boucle import history
from boucle.contract import NO_NUL, Boolean, Category, Cell, Classes, Contract, Label, Number, Text
from boucle.exam import Exam
from boucle.store import Run

MOST_NAMES_SHOWN = 12


class Body(BaseModel):
    """A request body: closed to unknown fields."""

    model_config = ConfigDict(extra="forbid")


class FeedbackById(Body):
    """The true value of a prediction that was made here."""

    prediction_id: Text = Field(min_length=1, max_length=64)
    target: Label


class FeedbackByData(Body):
    """The true value of any datum, with what was predicted for it."""

    data: dict[str, Any]
    prediction: Label
    target: Label


class PromoteBody(Body):
    """Why a version is promoted by hand, and who did it."""

    reason: Text = Field("by hand", max_length=500)
    actor: Text = Field("api", max_length=100)
    replacing: Text | None = Field(
        None, max_length=32, description="The champion that you saw: if another one came meanwhile, nothing is changed."
    )


class ReportRequest(BaseModel):
    """When reports were requested: those that are dated later are the answer."""

    requested_at: str


class Prediction(BaseModel):
    """The answer of one version, whole; ``probabilities`` is empty when a quantity is predicted."""

    prediction_id: str
    prediction: Label
    probabilities: dict[str, float]
    model_version: str
    warnings: list[str]


class ExplainById(Body):
    """A prediction that was made here, in place of its data."""

    prediction_id: Text = Field(min_length=1, max_length=64)


class Contribution(BaseModel):
    """What the value of one column adds to the output."""

    column: str
    value: Cell
    contribution: float


class Explanation(BaseModel):
    """Why a version answers as it does: the contributions, largest first, add up to ``output - base``.

    ``method`` is `linear`, which is exact, or `shapley`, by sampling, with the largest ``standard_error``. All figures
    are in the unit of ``scale``; ``base`` is the mean output over the ``background``.
    """

    model_version: str
    prediction: Label
    method: Literal["linear", "shapley"]
    scale: str
    base: float
    output: float
    contributions: list[Contribution]
    standard_error: float | None
    background: str


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
    status: Literal["accepted", "set aside"]
    reason: str | None


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
    progress: str | None
    progress_share: float | None
    exam: Exam | None

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
    strategy: str
    verdict: str
    run_id: int | None


class DamagedVersion(BaseModel):
    """A version whose manifest cannot be read, and why; it cannot be promoted."""

    version: str
    reason: str


class Reign(BaseModel):
    """Who was champion from when to when, and why; ``until`` is null for the one in charge."""

    version: str
    previous: str | None
    since: str = Field(serialization_alias="from")
    until: str | None
    reason: str
    actor: str

    @classmethod
    def of(cls, reign: history.Reign) -> "Reign":
        """The reign as clients see it."""
        promotion = reign.promotion
        return cls(
            version=promotion.version,
            previous=promotion.previous,
            since=promotion.promoted_at,
            until=reign.until,
            reason=promotion.reason,
            actor=promotion.actor,
        )


class Models(BaseModel):
    """The champion, every version and the last reigns, newest first; ``champion_at`` answers the query `at`."""

    champion: str
    previous: str | None
    promoted_at: str
    reason: str
    actor: str
    models: list[ModelSummary]
    damaged: list[DamagedVersion]
    history: list[Reign]
    champion_at: Reign | None = None


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
    """JSON Schema of a true value: one of the known classes, or a number."""
    target = contract.target
    if isinstance(target, Classes):
        return {"title": target.name, "enum": list(target.classes)}
    lowest, highest = target.limits
    observed = target.model_dump(include={"minimum", "maximum", "median", "integer"})
    return {"title": target.name, "type": "number", "minimum": lowest, "maximum": highest, "x-observed": observed}


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
