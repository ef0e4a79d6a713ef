"""What waits to be written to MLflow: a finished run, a run that died, a move of the champion by hand."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter

from boucle.exam import Challenger, Exam


class Value(BaseModel):
    """Frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Record(Value):
    """One training as it ended. ``version`` is to be registered, under ``alias`` if there is one.

    ``metric`` names what every score measures. Tags worth giving: verdict, reason, trigger, fingerprint, preparation,
    parent_version. A ``train`` has challengers and a ``winner`` among them but no exam; an exam brings its own.
    """

    kind: Literal["record"] = "record"
    name: str
    mlflow_run_id: str | None
    started_at: AwareDatetime
    finished_at: AwareDatetime
    metric: str
    status: Literal["FINISHED", "FAILED"] = "FINISHED"
    parameters: dict[str, Any] = {}  # whatever the algorithms take
    metrics: dict[str, float | None] = {}
    tags: dict[str, str] = {}
    exam: Exam | None = None
    challengers: tuple[Challenger, ...] = ()
    winner: str | None = None
    version: str | None = None
    alias: Literal["champion", "challenger"] | None = None

    @property
    def compared(self) -> tuple[Challenger, ...]:
        return self.challengers or (self.exam.challengers if self.exam else ())

    @property
    def best(self) -> Challenger | None:
        name = self.winner or (self.exam.challenger if self.exam else None)
        return next((challenger for challenger in self.compared if challenger.name == name), None)


class Abandonment(Value):
    """A run whose trainer died."""

    kind: Literal["abandonment"] = "abandonment"
    mlflow_run_id: str


class Pointing(Value):
    """A promotion or rollback by hand, which no training stands behind."""

    kind: Literal["pointing"] = "pointing"
    champion: str
    previous: str | None
    reason: str
    actor: str


Entry = Annotated[Record | Abandonment | Pointing, Field(discriminator="kind")]
ENTRY: TypeAdapter[Entry] = TypeAdapter(Entry)


def milliseconds(moment: datetime) -> int:
    """Since 1970, as MLflow counts time."""
    return round(moment.timestamp() * 1000)
