"""What the project is (`Project`: project.toml) and where its state is kept (`Places`: the environment)."""

import os
import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from cronsim import CronSim, CronSimError
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from boucle.errors import InvalidProject
from boucle.etl.ingestion import EtlSection

PREFIX = "BOUCLE__"

Algorithm = Literal["logistic_regression", "ridge", "random_forest", "hist_gradient_boosting", "sgd", "mlp"]
Strategy = Literal["scratch", "recency", "window", "fine_tune"]
Metric = Literal["balanced_accuracy", "accuracy", "f1", "precision", "recall", "roc_auc", "mae", "rmse", "r2"]


class Section(BaseModel):
    """A table of project.toml: frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ProjectSection(Section):
    """How it is called."""

    name: str = "Boucle"


class DataSection(Section):
    """Where its rows come from, and which are held out."""

    source: str
    target: str
    task: Literal["auto", "classification", "regression"] = "auto"
    query: str = ""
    drop: tuple[str, ...] = ()
    missing_values: tuple[str, ...] = ()
    max_categories: Annotated[int, Field(ge=2)] = 100
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    split: Literal["random", "time"] = "random"


class EmbeddingSection(Section):
    """How a row becomes a vector."""

    modality: Literal["tabular"] = "tabular"
    components: Literal["all"] | Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, lt=1)] = "all"


def _engine(address: str) -> str:
    if address and not re.fullmatch(r"dask://[^/\s]+:\d+", address):
        raise ValueError("is no engine; allowed are '' (this machine) and a Dask scheduler, such as dask://host:8786")
    return address


class TrainingSection(Section):
    """What is fitted, and how it is judged."""

    # None: what suits the task, which the data tell.
    candidates: Annotated[tuple[Algorithm, ...], Field(min_length=1)] | None = None
    # Whatever the algorithm's constructor takes: scikit-learn validates it when the model is built.
    parameters: dict[Algorithm, dict[str, Any]] = {}
    metric: Metric | None = None
    folds: Annotated[int, Field(ge=2)] = 5
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    strategies: Annotated[tuple[Strategy, ...], Field(min_length=1)] = ("scratch", "recency", "window", "fine_tune")
    half_life: Annotated[int, Field(ge=1)] = 2_000
    window: Annotated[int, Field(ge=10)] = 2_000
    max_rows: Annotated[int, Field(ge=100)] = 20_000
    class_weight: Literal["balanced", "none"] = "none"
    new_class_rows: Annotated[int, Field(ge=2)] = 20
    time_limit_seconds: Annotated[float, Field(gt=0)] = 3_600.0
    engine: Annotated[str, AfterValidator(_engine)] = ""


class FeedbackSection(Section):
    """When labels request a training run."""

    k: Annotated[int, Field(ge=0)] = 50


class DriftSection(Section):
    """When the rows that come in have moved far enough from those that the champion knows."""

    enabled: bool = False
    effect: Annotated[float, Field(gt=0)] = 0.25
    window: Annotated[int, Field(ge=50, le=5_000)] = 100
    windows: Annotated[int, Field(ge=1, le=20)] = 5
    sustained: Annotated[int, Field(ge=1, le=20)] = 2

    @field_validator("sustained")
    @classmethod
    def _fits(cls, sustained: int, info: ValidationInfo) -> int:
        if sustained > info.data.get("windows", sustained):
            raise ValueError(f"Input should be less than or equal to triggers.drift.windows = {info.data['windows']}")
        return sustained


class MetricSection(Section):
    """When the answers that were given have become too bad."""

    enabled: bool = False
    window: Annotated[int, Field(ge=50, le=5_000)] = 200
    floor: Annotated[float, Field(ge=0, lt=1)] = 0.0
    ceiling: Annotated[float, Field(gt=0)] | None = None
    drop: Annotated[float, Field(gt=0, lt=1)] = 0.05


def _cron(text: str) -> str:
    try:
        # The search for a time finds what the syntax allows and the calendar does not.
        is_valid = not text or (len(text.split()) == 5 and next(CronSim(text, datetime.now(UTC))))
    except (CronSimError, StopIteration):
        is_valid = False
    if not is_valid:
        raise ValueError(
            "is no cron expression; five fields are allowed: minute, hour, day of month, month, day of week, in UTC, "
            'such as "30 2 * * *" or "0 */6 * * MON-FRI"'
        )
    return text


class ScheduleSection(Section):
    """When the clock asks for a training run."""

    cron: Annotated[str, AfterValidator(_cron)] = ""


class TriggersSection(Section):
    """What requests a training run, beside every k feedback rows and POST /retrain."""

    drift: DriftSection = DriftSection()
    metric: MetricSection = MetricSection()
    schedule: ScheduleSection = ScheduleSection()


class MonitoringSection(Section):
    """What is looked at in production, and what counts as moved."""

    window: Annotated[int, Field(ge=50, le=5_000)] = 500
    effect: Annotated[float, Field(gt=0)] = 0.25
    share: Annotated[float, Field(gt=0, le=1)] = 0.3


class PromotionSection(Section):
    """When a challenger replaces the champion."""

    margin: Annotated[float, Field(ge=0, lt=1)] = 0.0
    tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.02
    strict: bool = False
    level: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    exam_rows: Annotated[int, Field(ge=20)] = 1_000


class RetentionSection(Section):
    """What is kept of what grows for ever."""

    # At least one: the newest version's number must stay known.
    versions: Annotated[int, Field(ge=1)] = 10
    # A century at most: the calendar begins somewhere.
    predictions_days: Annotated[int, Field(ge=0, le=36_500)] = 0


class LimitsSection(Section):
    """What a client may send."""

    body_bytes: Annotated[int, Field(ge=1_000)] = 10_000_000
    batch_bytes: Annotated[int, Field(ge=1_000)] = 1_000_000_000


class Project(BaseSettings):
    """Every ML and product decision of one project, checked and frozen."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, env_ignore_empty=True
    )

    project: ProjectSection = ProjectSection()
    etl: EtlSection = EtlSection()
    data: DataSection
    embedding: EmbeddingSection = EmbeddingSection()
    training: TrainingSection = TrainingSection()
    feedback: FeedbackSection = FeedbackSection()
    triggers: TriggersSection = TriggersSection()
    promotion: PromotionSection = PromotionSection()
    monitoring: MonitoringSection = MonitoringSection()
    retention: RetentionSection = RetentionSection()
    limits: LimitsSection = LimitsSection()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # The environment overrides the file, whose content arrives as the arguments.
        return env_settings, init_settings


class Places(BaseSettings):
    """Where this process finds its state. The defaults are the embedded stack: folders and SQLite."""

    model_config = SettingsConfigDict(env_prefix="BOUCLE_", frozen=True, env_ignore_empty=True, extra="ignore")

    project: Path = Path("project.toml")
    data: Path = Path("data")
    artifacts: Path = Path("artifacts")
    database_url: str = ""
    database_password_file: Path | None = None
    tracking_uri: str = ""

    @property
    def database(self) -> str:
        """SQLAlchemy URL of the store, with the password of the file that holds it."""
        if not self.database_url:
            return f"sqlite:///{self.data / 'boucle.db'}"
        if self.database_password_file is None:
            return self.database_url
        # Here and not above: SQLAlchemy is imported by those who use the store.
        from sqlalchemy import make_url

        password = self.database_password_file.read_text(encoding="utf-8").strip()
        return make_url(self.database_url).set(password=password).render_as_string(hide_password=False)

    @property
    def tracking(self) -> str:
        """MLflow tracking URI."""
        return self.tracking_uri or f"sqlite:///{self.data / 'mlflow' / 'mlflow.db'}"


class Recipients(BaseSettings):
    """Who is told how a step ended: addresses as https://appriseit.com writes them. They hold secrets."""

    model_config = SettingsConfigDict(env_prefix="BOUCLE_NOTIFY_", frozen=True, env_ignore_empty=True, extra="ignore")

    urls: str = ""
    urls_file: Path | None = None

    def all(self) -> list[str]:
        """Every address of the variable and of the file, which has one a line.

        Raises:
            InvalidProject: when the file cannot be read.
        """
        try:
            lines = self.urls_file.read_text(encoding="utf-8").splitlines() if self.urls_file else []
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidProject(f"BOUCLE_NOTIFY_URLS_FILE={self.urls_file}: cannot be read ({error})") from error
        return [url for line in (*self.urls.split(), *lines) if (url := line.strip()) and not url.startswith("#")]


def load_project(path: Path) -> Project:
    """The project that ``path`` describes, with the overrides of the environment.

    Raises:
        InvalidProject: with one line a mistake: key, value, what is allowed.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InvalidProject(f"{path} is missing: run from the project's folder, or set BOUCLE_PROJECT") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidProject(f"{path} is not TOML: {error}") from error
    sections = Project.model_fields
    for name in os.environ:
        if name.startswith(PREFIX) and name.removeprefix(PREFIX).split("__")[0].lower() not in sections:
            raise InvalidProject(f"{name}: no such section; sections are {', '.join(sections)}")
    try:
        return Project(**content)
    except ValidationError as error:
        details = error.errors(include_url=False)
        # A list with a wrong item is also reported as too short: the item alone says it better.
        inner = [one for one in details if not any(one["loc"] == other["loc"][:-1] for other in details)]
        raise InvalidProject("\n".join(_explain(path, dict(detail)) for detail in inner)) from error


def _explain(path: Path, detail: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in detail["loc"] if not str(part).startswith("constrained-"))
    if detail["type"] == "extra_forbidden":
        return f"{path}: {key} = {detail['input']!r}: there is no such key; docs/project-toml.md lists them"
    if detail["type"] == "missing":
        return f"{path}: {key} is missing; docs/project-toml.md explains it"
    return f"{path}: {key} = {detail['input']!r}: {str(detail['msg']).removeprefix('Value error, ')}"
