"""What the API says of training runs, exams and versions, parsed once into typed values."""

from datetime import datetime

from pydantic import Field

from webapp.answers import Answer

ERROR_METRICS = ("mae", "rmse", "mape")


def is_error(metric: str) -> bool:
    """Whether less of the metric is better."""
    return metric in ERROR_METRICS


class ExamScores(Answer):
    """How champion and challenger did on the same rows; empty until the exam is over."""

    metric: str = "score"
    champion: float | None = None
    challenger: float | None = None
    exam_rows: int | None = None


class Challenger(Answer):
    """One recipe's showing in an exam; ``validation`` holds its score per fold."""

    name: str
    algorithm: str
    strategy: str
    score: float | None = None
    validation: tuple[float | None, ...] = ()


class Exam(Answer):
    """The best challenger beside the champion on the same rows.

    ``difference`` is its gain, for an error metric the share of the champion's error that it saves; ``lower`` and
    ``upper`` bound it, and ``margin`` and ``tolerance`` are in the same unit.
    """

    metric: str
    rows: int
    look: int = 1
    champion: str
    champion_score: float | None
    challenger: str
    challenger_score: float | None
    difference: float | None
    lower: float | None
    upper: float | None
    margin: float
    tolerance: float
    strict: bool = False
    challengers: tuple[Challenger, ...] = ()


class TrainingRun(Answer):
    """One turn of the loop: who asked for it and why, how far it is, and what came of it."""

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
    progress: str | None = None
    progress_share: float | None = None
    exam: Exam | None = None

    @property
    def is_active(self) -> bool:
        return self.state in ("requested", "running")


class Loop(Answer):
    """How far the loop is from closing, and its newest training runs, newest first.

    ``k`` is None when the number of rows triggers nothing.
    """

    k: int | None
    feedback_rows: int
    rows_to_next_retraining: int | None = None
    runs: tuple[TrainingRun, ...] = ()

    @property
    def active_runs(self) -> tuple[TrainingRun, ...]:
        return tuple(run for run in self.runs if run.is_active)

    @property
    def last(self) -> TrainingRun | None:
        """The run under way, else the newest; a request merged into another run is none of its own."""
        own = [run for run in self.runs if run.state != "coalesced"]
        return next((run for run in own if run.state == "running"), own[0] if own else None)

    @property
    def examined(self) -> TrainingRun | None:
        """The newest run whose exam is known."""
        return next((run for run in self.runs if run.exam), None)


class ModelVersion(Answer):
    """One version, with the metrics it had when it was made."""

    version: str
    created_at: datetime
    is_champion: bool = False
    algorithm: str = ""
    strategy: str | None = None
    metric: str = "score"
    metrics: dict[str, dict[str, float | None]] = Field(default_factory=dict)
    parent_version: str | None = None
    rows: int | None = None
    run_id: int | None = None
    verdict: str | None = None

    @property
    def score(self) -> float | None:
        """The metric on the held-out rows, which no version has learnt: comparable between versions."""
        return self.metrics.get("held-out test rows", {}).get(self.metric)

    @property
    def recipe(self) -> str:
        """``random forest, window``: what was fitted, and on which rows."""
        return ", ".join(part.replace("_", " ") for part in (self.algorithm, self.strategy) if part)


class ModelCard(Answer):
    """What a person should know before trusting a version, in Markdown."""

    model_card: str


class DamagedVersion(Answer):
    """A version that cannot be read, and why; it cannot be promoted."""

    version: str
    reason: str


class Reign(Answer):
    """A time in which one version was champion; ``until`` is None for the one that serves."""

    version: str
    previous: str | None = None
    since: datetime = Field(alias="from")
    until: datetime | None = None
    reason: str | None = None
    actor: str | None = None


class Models(Answer):
    """The versions, newest first; which of them serves since when and why; and who served before, newest first."""

    champion: str | None = None
    previous: str | None = None
    promoted_at: datetime | None = None
    reason: str | None = None
    actor: str | None = None
    models: tuple[ModelVersion, ...] = ()
    damaged: tuple[DamagedVersion, ...] = ()
    history: tuple[Reign, ...] = ()

    def find(self, version: str | None) -> ModelVersion | None:
        return next((model for model in self.models if model.version == version), None)

    def has_reigned(self, version: str) -> bool:
        """Whether the version was champion before: to promote it again is to roll back."""
        return version == self.previous or any(reign.version == version for reign in self.history)
