"""This process's environment."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What an operator decides about reporting; an unset variable means the default."""

    model_config = SettingsConfigDict(populate_by_name=True, frozen=True)

    data: Path = Field(default=Path("data"), validation_alias="BOUCLE_DATA")
    interval_seconds: float = Field(default=30, gt=0, validation_alias="BOUCLE_REPORTING_INTERVAL_SECONDS")
    host: str = Field(default="127.0.0.1", validation_alias="REPORTING_HOST")
    port: int = Field(default=8082, ge=1, le=65535, validation_alias="REPORTING_PORT")
    min_rows: int = Field(
        default=50,
        ge=2,
        validation_alias="BOUCLE_REPORTING_MIN_ROWS",
        description="No verdict below this: a small window looks drifted by chance (see reports.DRIFT_THRESHOLD).",
    )
    window_rows: int = Field(
        default=500,
        validation_alias="BOUCLE_REPORTING_WINDOW_ROWS",
        description="How many of the latest rows are compared.",
    )
    keep: int = Field(
        default=200, ge=2, validation_alias="BOUCLE_REPORTING_KEEP", description="Snapshots kept; the oldest go first."
    )
    keep_plots: int = Field(
        default=20,
        ge=1,
        validation_alias="BOUCLE_REPORTING_KEEP_PLOTS",
        description="So many of them keep their plots; older ones keep their numbers.",
    )

    @property
    def workspace(self) -> Path:
        """The folder of Evidently's workspace."""
        return self.data / "reports"

    @model_validator(mode="after")
    def _window_holds_enough_rows(self) -> Self:
        if self.window_rows < self.min_rows:
            raise ValueError(
                f"BOUCLE_REPORTING_WINDOW_ROWS={self.window_rows} must be at least "
                f"BOUCLE_REPORTING_MIN_ROWS={self.min_rows}"
            )
        return self
