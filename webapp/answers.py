"""What the API answers to a datum and to its truth, parsed once into typed values."""

from pydantic import BaseModel, ConfigDict, JsonValue

# In a union pydantic keeps the exact JSON type: true stays a boolean, 1 an integer, 1.5 a number, "1" a text.
Label = bool | int | float | str
Datum = dict[str, JsonValue]


def label_text(label: Label) -> str:
    """A class as the API writes it in the keys of ``probabilities``; a number as people read it."""
    if isinstance(label, bool):
        return str(label).lower()
    return number_text(label) if isinstance(label, float) else str(label)


def number_text(number: float, digits: int = 6) -> str:
    """The number to so many digits, but whole before the point: ``0.001235``, ``248.372``, ``1,234,568``."""
    if not 1000 <= abs(number) < 1e15:
        return f"{number:.{digits}g}"
    decimals = max(0, digits - len(f"{abs(number):.0f}"))
    text = f"{number:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text


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


class Contribution(Answer):
    """What the value of one column adds to the answer."""

    column: str
    value: Label | None = None
    contribution: float


class Explanation(Answer):
    """Why the model answered as it did; the contributions, largest first, lead from ``base`` to ``output``."""

    method: str
    scale: str
    base: float
    output: float
    contributions: tuple[Contribution, ...]
    standard_error: float | None = None
    background: str = ""


class BatchPrediction(Prediction):
    """The answer to one row of a batch; rows are counted from 1."""

    row: int


class BatchProblem(Answer):
    """Why one row of a batch has no prediction."""

    row: int
    error: Problem


class Feedback(Answer):
    """The receipt of one label; one that is set aside is kept, but not learnt from yet, for ``reason``."""

    row: int
    target: Label
    retraining_requested: bool = False
    rows_to_next_retraining: int | None = None
    status: str = "accepted"
    reason: str | None = None

    @property
    def is_set_aside(self) -> bool:
        return self.status == "set aside"
