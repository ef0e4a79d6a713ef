"""This process's environment."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What an operator decides about serving: `SERVING_PORT=9080`."""

    model_config = SettingsConfigDict(env_prefix="SERVING_", frozen=True, env_ignore_empty=True)

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8080
    workers: Annotated[int, Field(ge=1)] = 2
    watch_seconds: Annotated[float, Field(gt=0)] = 0.5
    journal_capacity: Annotated[int, Field(ge=1)] = 50_000
    # uvicorn's own variable: the proxies whose X-Forwarded-Proto is believed.
    forwarded_allow_ips: str = Field("127.0.0.1", validation_alias="FORWARDED_ALLOW_IPS")
    drain_seconds: Annotated[int, Field(ge=1)] = 10
