"""This process's environment: where the API is, and what else there is to open."""

from pydantic import HttpUrl
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Where the API answers, ``SERVING_URL``; and where a browser finds the other parts, as far as they run."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True)

    serving_url: HttpUrl = HttpUrl("http://127.0.0.1:8080")
    grafana_url: HttpUrl | None = None
    reporting_url: HttpUrl | None = None
    mlflow_url: HttpUrl | None = None
    prometheus_url: HttpUrl | None = None

    @property
    def links(self) -> dict[str, str]:
        """The addresses of the parts that are known, by what they show."""
        parts = {
            "Grafana": self.grafana_url,
            "Evidently": self.reporting_url,
            "MLflow": self.mlflow_url,
            "Prometheus": self.prometheus_url,
        }
        return {name: str(url) for name, url in parts.items() if url}
