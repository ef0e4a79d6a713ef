"""MLflow: runs, registered versions, aliases. The record of the loop, never its condition."""

import logging
import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import skops.io
from pydantic import BaseModel, ConfigDict
from sklearn.pipeline import make_pipeline

from boucle.artifacts import Manifest
from boucle.embedding import Embedding
from boucle.exam import Challenger, Exam
from boucle.models import Model

log = logging.getLogger(__name__)


class Record(BaseModel):
    """What MLflow is told about one training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    mlflow_run_id: str | None
    started_at: str
    finished_at: str
    parameters: dict[str, Any]
    metrics: dict[str, float | None]
    tags: dict[str, str]
    challengers: tuple[Challenger, ...]
    exam: Exam | None
    version: str | None
    alias: Literal["champion", "challenger"] | None


class Tracker(Protocol):
    """Where training runs are recorded."""

    def start(self, name: str) -> str | None:
        """Begin a run; its identifier, or None when it cannot be recorded."""

    def abandon(self, mlflow_run_id: str) -> None:
        """End a run whose trainer died."""

    def record(self, record: Record) -> None:
        """Write the record, now or later."""

    def drain(self) -> None:
        """Write what waits."""


class MLflowTracker:
    """Records to an MLflow tracking URI: a server, or the embedded SQLite file."""

    def __init__(self, uri: str, experiment: str, folder: Path) -> None:
        # Read by mlflow at import: by default its client waits four minutes for a server that is down.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
        # Here and not above: the import takes seconds, which nothing but a tracker should cost.
        import mlflow.sklearn

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        self._uri = uri
        self._experiment = experiment
        # Used with an embedded store only: a server chooses its own place for artifacts.
        self._artifacts = folder / "mlflow" / "artifacts"
        if uri.startswith("sqlite:///"):
            self._artifacts.mkdir(parents=True, exist_ok=True)
        mlflow.set_tracking_uri(uri)
        self._mlflow = mlflow
        self._client = mlflow.MlflowClient()

    def start(self, name: str) -> str | None:
        return self._attempt("start a run", lambda: self._start(name))

    def log(self, run_id: str | None, metrics: Mapping[str, float], tags: Mapping[str, str]) -> None:
        if run_id is not None:
            self._attempt("log a run", lambda: self._log(run_id, metrics, tags))

    def register(self, manifest: Manifest, folder: Path, model: Model, embedding: Embedding) -> None:
        if manifest.mlflow_run_id is not None:
            self._attempt("register a version", lambda: self._register(manifest, folder, model, embedding))

    def _attempt(self, what: str, action: Callable[[], str | None]) -> str | None:
        try:
            return action()
        except Exception:  # whatever MLflow, its database or the network raise: the loop goes on without the record
            log.warning("mlflow could not %s at %s", what, self._uri, exc_info=True)
            return None

    def _start(self, name: str) -> str:
        experiment = self._client.get_experiment_by_name(self._experiment)
        if experiment is not None:
            return str(self._client.create_run(experiment.experiment_id, run_name=name).info.run_id)
        location = self._artifacts.resolve().as_uri() if self._uri.startswith("sqlite") else None
        experiment_id = self._client.create_experiment(self._experiment, artifact_location=location)
        return str(self._client.create_run(experiment_id, run_name=name).info.run_id)

    def _log(self, run_id: str, metrics: Mapping[str, float], tags: Mapping[str, str]) -> None:
        for name, value in metrics.items():
            if not math.isnan(value):  # MLflow stores no NaN
                self._client.log_metric(run_id, name, value)
        for name, text in tags.items():
            self._client.set_tag(run_id, name, text)
        self._client.set_terminated(run_id)

    def _register(self, manifest: Manifest, folder: Path, model: Model, embedding: Embedding) -> None:
        pipeline = make_pipeline(embedding.scaler, embedding.projector, model.estimator)
        with self._mlflow.start_run(run_id=manifest.mlflow_run_id):
            self._mlflow.log_params({"algorithm": manifest.algorithm, **manifest.parameters})
            self._mlflow.log_artifacts(str(folder), "version")
            logged = self._mlflow.sklearn.log_model(
                pipeline,
                name="model",
                # Given, or MLflow would take seconds to guess them.
                pip_requirements=[f"scikit-learn=={manifest.libraries['scikit-learn']}", "skops"],
                skops_trusted_types=skops.io.get_untrusted_types(data=skops.io.dumps(pipeline)),
            )
        name = re.sub(r"[^a-z0-9]+", "-", manifest.project.lower()).strip("-") or "boucle"
        if not self._client.search_registered_models(f"name = '{name}'"):
            self._client.create_registered_model(name)
        before = self._client.get_registered_model(name).aliases.get("champion")
        version = self._client.create_model_version(
            name,
            logged.model_uri,
            run_id=manifest.mlflow_run_id,
            tags={"version": manifest.version},
            model_id=logged.model_id,  # a server refuses the URI without it; the embedded store does not care
        )
        self._client.set_registered_model_alias(name, "champion", version.version)
        if before is not None:
            self._client.set_registered_model_alias(name, "previous", before)
