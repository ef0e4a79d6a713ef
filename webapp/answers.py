"""What the API answers, parsed once into typed values."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, JsonValue

# In a union pydantic keeps the exact JSON type: true stays a boolean, 1 an integer, "1" a text.
Label = bool | int | str
Datum = dict[str, JsonValue]


def label_text(label: Label) -> str:
    """The label as the API writes it in the keys of ``probabilities``."""
    return str(label).lower() if isinstance(label, bool) else str(label)


class Answer(BaseModel):
    """A body the API sent; members this page does not use are ignored, so that the API may grow."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


class FieldError(Answer):
    """One field at fault, and what is allowed in it."""

    field: str = ""
    value: JsonValue = None
    message: str = ""

    def __str__(self) -> str:
        given = "" if self.value in (None, "") else f" (given: {self.value})"
        return f"{self.field}: {self.message}{given}"


class Problem(Answer):
    """The part of a problem document (RFC 9457) that a person can act on."""

    detail: str
    errors: tuple[FieldError, ...] = ()

    def __str__(self) -> str:
        return "; ".join(map(str, self.errors)) or self.detail


class Prediction(Answer):
    """One answer of the model, and the version that gave it."""

    prediction_id: str
    prediction: Label
    probabilities: dict[str, float] = {}
    model_version: str
    warnings: tuple[str, ...] = ()

    @property
    def confidence(self) -> float | None:
        """The probability of the predicted label; None for a model that gives no probabilities."""
        return self.probabilities.get(label_text(self.prediction))


class BatchPrediction(Prediction):
    """The answer to one row of a batch; rows are counted from 1."""

    row: int


class BatchProblem(Answer):
    """Why one row of a batch has no prediction."""

    row: int
    error: Problem


class Feedback(Answer):
    """The receipt of one accepted label."""

    row: int
    target: Label
    retraining_requested: bool = False
    rows_to_next_retraining: int | None


class ExamScores(Answer):
    """How champion and challenger did on the same rows; empty until the exam is over."""

    metric: str = "score"
    champion: float | None = None
    challenger: float | None = None
    exam_rows: int | None = None


class TrainingRun(Answer):
    """One turn of the loop: who asked for it, how far it is, and what came of it."""

    id: int | str
    trigger: str
    trigger_reason: str | None = None
    state: str
    verdict: str | None = None
    requested_at: datetime
    finished_at: datetime | None = None
    parent_version: str | None = None
    version: str | None = None
    reason: str | None = None
    metrics: ExamScores = ExamScores()

    @property
    def is_active(self) -> bool:
        return self.state in ("requested", "running")


class Loop(Answer):
    """How far the loop is from closing, and its newest training runs, newest first."""

    k: int
    feedback_rows: int
    rows_to_next_retraining: int | None
    runs: tuple[TrainingRun, ...] = ()


class ModelVersion(Answer):
    """One version, with the metrics it had when it was made."""

    version: str
    created_at: datetime
    is_champion: bool = False
    algorithm: str = ""
    metric: str = "score"
    metrics: dict[str, dict[str, float | None]] = {}
    parent_version: str | None = None
    rows: int | None = None

    @property
    def score(self) -> float | None:
        """The metric on the held-out rows, which no version has learnt: comparable between versions."""
        return self.metrics.get("held-out test rows", {}).get(self.metric)


class Models(Answer):
    """The versions, newest first, and which of them serves since when."""

    champion: str | None = None
    previous: str | None = None
    promoted_at: datetime | None = None
    models: tuple[ModelVersion, ...] = ()


@dataclass(frozen=True)
class Field:
    """One input column."""

    name: str
    kind: Literal["number", "boolean", "category", "text"]
    description: str = ""
    nullable: bool = False
    integer: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Schema:
    """What the model wants and what it answers, in the project's own words."""

    project: str
    fields: tuple[Field, ...]
    example: Datum
    target: str
    labels: tuple[Label, ...]

    @property
    def identity(self) -> tuple[object, ...]:
        """Differs when another project answers, not when the same one has a new example row."""
        return self.project, self.target, self.labels, tuple(field.name for field in self.fields)

    def label(self, cell: object) -> Label | None:
        """The label, in its JSON type, that a cell of a file means; None when it means none."""
        text = label_text(cell).strip() if isinstance(cell, bool | int | str) else str(cell)
        spellings = {label_text(label): label for label in self.labels}
        if all(isinstance(label, bool) for label in self.labels):
            return spellings.get({"0": "false", "1": "true"}.get(text, text.lower()))
        # A column of integers with one empty cell is written by most tools as 1.0, 2.0, …
        return spellings.get(text, spellings.get(text.removesuffix(".0")))


def parse_schema(openapi: dict[str, Any]) -> Schema:  # Any: an OpenAPI document, arbitrary JSON by nature
    """The project's schema out of the API's OpenAPI document.

    Raises:
        KeyError, TypeError, IndexError, AttributeError: when the document is not one of Boucle's.
    """
    schemas = openapi["components"]["schemas"]
    datum, target = schemas["Datum"], schemas["Target"]
    return Schema(
        project=openapi["info"]["title"],
        fields=tuple(_field(name, members) for name, members in datum["properties"].items()),
        example=datum["examples"][0],
        target=target["title"],
        labels=tuple(target["enum"]),
    )


def _field(name: str, members: dict[str, Any]) -> Field:  # Any: a JSON schema, as above
    variants = members.get("anyOf", [members])
    json_type = next(variant["type"] for variant in variants if variant["type"] != "null")
    choices = tuple(members.get("examples", ()))
    text_kind: Literal["category", "text"] = "category" if choices else "text"
    kinds: dict[str, Literal["number", "boolean"]] = {"number": "number", "integer": "number", "boolean": "boolean"}
    return Field(
        name=name,
        kind=kinds.get(json_type, text_kind),
        description=members.get("description", ""),
        nullable=any(variant["type"] == "null" for variant in variants),
        integer=json_type == "integer" or members.get("x-observed", {}).get("integer", False),
        choices=choices,
    )
