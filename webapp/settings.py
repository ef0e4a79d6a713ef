"""This process's environment: where the API is."""

from pydantic import HttpUrl
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Where the API answers; overridden by ``SERVING_URL``."""

    model_config = SettingsConfigDict(frozen=True)

    serving_url: HttpUrl = HttpUrl("http://127.0.0.1:8080")
