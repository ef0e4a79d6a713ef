"""This process's environment."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What an operator decides about reporting; an unset variable means the default."""

    model_config = SettingsConfigDict(populate_by_name=True, frozen=True)

    data: Path = Field(default=Path("data"), validation_alias="BOUCLE_DATA")
    interval_seconds: float = Field(default=30, gt=0, validation_alias="BOUCLE_REPORTING_INTERVAL_SECONDS")
    host: str = Field(default="127.0.0.1", validation_alias="REPORTING_HOST")
    port: int = Field(default=8082, ge=1, le=65535, validation_alias="REPORTING_PORT")
    keep: int = Field(
        default=400, ge=4, validation_alias="BOUCLE_REPORTING_KEEP", description="Snapshots kept; the oldest go first."
    )
    keep_days: int = Field(
        default=90, ge=1, validation_alias="BOUCLE_REPORTING_KEEP_DAYS", description="Snapshots older than this go."
    )
    keep_plots: int = Field(
        default=24,
        ge=1,
        validation_alias="BOUCLE_REPORTING_KEEP_PLOTS",
        description="So many of them keep their plots; older ones keep their numbers.",
    )

    @property
    def workspace(self) -> Path:
        """The folder of Evidently's workspace."""
        return self.data / "reports"
