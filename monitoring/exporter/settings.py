"""This process's environment."""

from typing import Annotated

from pydantic import Field, HttpUrl
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Where Prometheus finds the numbers: `EXPORTER_PORT=9083`."""

    model_config = SettingsConfigDict(env_prefix="EXPORTER_", frozen=True, env_ignore_empty=True)

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8083
    interval_seconds: Annotated[float, Field(gt=0)] = 10.0
    parts: dict[str, HttpUrl] = Field(default={}, description="Parts without metrics of their own, and their health.")
