"""What there is to see of the model in production: the one set of numbers that every display shows."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

# Where the observer leaves the last one, within `data`, beside the rows that it was made of.
FOLDER = "monitoring"
OBSERVATION = "observation.json"
# Fewer give no verdict: what chance alone does to them is as large as what one looks for.
FEWEST_ROWS = 50


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class Served(_Value):
    """The newest predictions; where clients bring data of their own with the feedback, the newest of these."""

    rows: int
    first_at: str | None
    last_at: str | None


class LabelledRows(_Value):
    """The newest accepted feedback."""

    rows: int
    first_row: int
    last_row: int


class Distance(_Value):
    """How far something moved from the reference, in standard deviations beyond chance; see `boucle.drift`."""

    size: float
    p_value: float
    drifted: bool


class ColumnDrift(Distance):
    """One column: a number, boolean or category; ``missing`` says that it is its share of missing values that moved."""

    column: str
    kind: str
    missing: bool
    statistics: dict[str, float]


class JointDrift(_Value):
    """How well a classifier tells served rows from reference rows: 0.5 is not at all, 1 is without error."""

    auc: float
    p_value: float
    drifted: bool


class ConceptDrift(_Value):
    """Whether the error of the answers changed within the labelled rows: its mean before and after, and the row."""

    changed: bool
    before: float | None
    after: float | None
    row: int | None


class Drift(_Value):
    """Everything that can move, the farthest column first; ``share`` is that of the columns that drifted.

    A column has drifted from ``effect`` on, the data from ``share_limit`` on: `monitoring.effect` and `.share`.
    """

    share: float
    drifted: bool
    effect: float
    share_limit: float
    columns: list[ColumnDrift]
    joint: JointDrift | None
    prediction: Distance | None
    target: Distance | None
    concept: ConceptDrift | None


class ColumnQuality(_Value):
    """How many served rows hold no value, or one that the reference rows never showed; and what these showed."""

    column: str
    missing: int
    out_of_range: int
    new_category: int
    minimum: float | None
    maximum: float | None
    categories: list[str] | None


class Labels(_Value):
    """The share of served rows whose true value came, and how long the labelled rows waited for it, by quantile."""

    coverage: float | None
    delay_seconds: dict[str, float]


class Point(_Value):
    """What a history shows of one observation."""

    created_at: str
    model_version: str
    rows: int
    quality: dict[str, float]
    estimated_accuracy: float | None
    share: float | None
    drifted: bool
    sizes: dict[str, float]
    coverage: float | None


class Observation(_Value):
    """One look at production.

    ``quality`` are the scores of the labelled rows' answers, ``expected`` the champion's on held-out rows; of classes,
    F1, precision and recall are the mean over the classes that occur. ``complaint`` says that the answers are worse
    than expected. ``estimated_accuracy`` comes from the served rows' probabilities and needs no label.
    ``predictions`` are the shares of the classes served, or quantiles of a quantity.
    """

    created_at: str
    model_version: str
    served: Served
    labelled: LabelledRows
    quality: dict[str, float]
    expected: dict[str, float]
    complaint: str | None
    estimated_accuracy: float | None
    drift: Drift | None
    data_quality: list[ColumnQuality]
    predictions: dict[str, float]
    labels: Labels

    @property
    def point(self) -> Point:
        """What a history keeps of it."""
        columns = self.drift.columns if self.drift else []
        return Point(
            created_at=self.created_at,
            model_version=self.model_version,
            rows=self.labelled.last_row,
            quality=self.quality,
            estimated_accuracy=self.estimated_accuracy,
            share=self.drift.share if self.drift else None,
            drifted=bool(self.drift and self.drift.drifted),
            sizes=_farthest(columns),
            coverage=self.labels.coverage,
        )


class Monitoring(_Value):
    """The last observation, and the points of those before it, oldest first."""

    latest: Observation | None
    history: list[Point]


def _farthest(columns: list[ColumnDrift]) -> Mapping[str, float]:
    sizes: dict[str, float] = {}
    for column in columns:
        sizes.setdefault(column.column, column.size)  # the farthest comes first
    return sizes
