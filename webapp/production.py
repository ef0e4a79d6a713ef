"""What the API says of the model in production, parsed once into typed values."""

from datetime import datetime

from pydantic import Field

from webapp.answers import Answer


class Served(Answer):
    """The newest predictions."""

    rows: int = 0
    last_at: datetime | None = None


class LabelledRows(Answer):
    """The newest accepted feedback."""

    rows: int = 0
    first_row: int = 0
    last_row: int = 0


class Distance(Answer):
    """How far something moved from the reference, in standard deviations beyond chance."""

    size: float
    p_value: float
    drifted: bool


class ColumnDrift(Distance):
    """One column's move; ``missing`` says that it is its share of missing values that moved."""

    column: str
    kind: str = ""
    missing: bool = False
    statistics: dict[str, float] = Field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"{self.column} (missing)" if self.missing else self.column


class JointDrift(Answer):
    """How well a classifier tells served rows from reference rows: 0.5 is not at all."""

    auc: float
    p_value: float
    drifted: bool


class ConceptDrift(Answer):
    """Whether the error of the answers changed among the labelled rows: its mean before and after, and the row."""

    changed: bool
    before: float | None = None
    after: float | None = None
    row: int | None = None


class Drift(Answer):
    """Everything that can move, the farthest column first; a column has drifted from ``effect`` on."""

    share: float
    drifted: bool
    effect: float | None = None
    share_limit: float | None = None
    columns: tuple[ColumnDrift, ...] = ()
    joint: JointDrift | None = None
    prediction: Distance | None = None
    target: Distance | None = None
    concept: ConceptDrift | None = None

    @property
    def drifted_columns(self) -> tuple[str, ...]:
        """Each once, the farthest first: its values and its missing share may both have moved."""
        return tuple(dict.fromkeys(one.column for one in self.columns if one.drifted))

    @property
    def n_columns(self) -> int:
        return len({one.column for one in self.columns})


class ColumnQuality(Answer):
    """How many served rows hold no value, or one that the reference never showed; and what it showed."""

    column: str
    missing: int = 0
    out_of_range: int = 0
    new_category: int = 0
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] | None = None


class Labels(Answer):
    """The share of served rows whose true value came, and how long labels took, by quantile."""

    coverage: float | None = None
    delay_seconds: dict[str, float] = Field(default_factory=dict)


class Point(Answer):
    """What the history keeps of one observation; ``rows`` is the last labelled row."""

    created_at: datetime
    model_version: str = ""
    rows: int = 0
    quality: dict[str, float] = Field(default_factory=dict)
    estimated_accuracy: float | None = None
    share: float | None = None
    drifted: bool = False
    sizes: dict[str, float] = Field(default_factory=dict)
    coverage: float | None = None


class Observation(Answer):
    """One look at production; what too few rows would tell is left out."""

    created_at: datetime
    model_version: str = ""
    served: Served = Served()
    labelled: LabelledRows = LabelledRows()
    quality: dict[str, float] = Field(default_factory=dict)
    expected: dict[str, float] = Field(default_factory=dict)
    complaint: str | None = None
    estimated_accuracy: float | None = None
    drift: Drift | None = None
    data_quality: tuple[ColumnQuality, ...] = ()
    predictions: dict[str, float] = Field(default_factory=dict)
    labels: Labels = Labels()

    @property
    def is_of_quantity(self) -> bool:
        """Whether the target is a number."""
        return "mae" in (self.expected or self.quality)


class Monitoring(Answer):
    """The last observation, and the history of those before it, oldest first."""

    latest: Observation | None = None
    history: tuple[Point, ...] = ()


class ReportRequest(Answer):
    """When a report was asked for."""

    requested_at: datetime
