"""Entries to MLflow: one parent run a training, one child run a challenger. Whatever is written twice stands once."""

import logging
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import mlflow
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from boucle.artifacts import Artifacts
from boucle.exam import Challenger, Exam
from boucle.tracking import tables
from boucle.tracking.entries import Abandonment, Entry, Pointing, Record, milliseconds
from boucle.tracking.outbox import Refused
from boucle.tracking.registry import Registry

# The record that a run is made from, and the record that it holds whole.
FROM, HOLDS = "boucle.record", "boucle.recorded"
# Codes by which MLflow says that the request is wrong. Others, and errors of the network, may pass.
REFUSALS = {"INVALID_PARAMETER_VALUE", "INVALID_STATE", "RESOURCE_DOES_NOT_EXIST"}


class Writer:
    """A connection to one tracking URI, for the runs of one project."""

    def __init__(self, uri: str, project: str, folder: Path, artifacts: Artifacts) -> None:
        # What they would say of each attempt, the tracker says once an outage.
        for chatty in ("mlflow", "urllib3.connectionpool"):
            logging.getLogger(chatty).setLevel(logging.ERROR)
        self._project = project
        # A server chooses its own place for artifacts.
        self._location: Path | None = None
        if uri.startswith("sqlite:///"):
            self._location = folder / "artifacts"
            self._location.mkdir(parents=True, exist_ok=True)
        mlflow.set_tracking_uri(uri)
        self._client = mlflow.MlflowClient(uri)
        self._registry = Registry(self._client, project, artifacts)

    def start(self, name: str, begun: str | None) -> str:
        """Begin a run, or take up the one that was ``begun`` for us; its identifier."""
        run = self._find(begun)
        if run is None:
            return str(self._client.create_run(self._experiment(), run_name=name).info.run_id)
        self._client.update_run(begun, name=name)
        return str(run.info.run_id)

    def write(self, name: str, entry: Entry) -> None:
        """Bring one entry to MLflow, whole; its ``name`` tells whether that was begun or done before.

        Raises:
            Refused: when MLflow will never take it.
        """
        try:
            match entry:
                case Record():
                    self._record(name, entry)
                case Abandonment():
                    self._abandon(entry.mlflow_run_id)
                case Pointing():
                    self._registry.point(entry)
        except MlflowException as error:
            if error.error_code in REFUSALS:
                raise Refused(str(error)) from error
            raise
        except (OSError, SQLAlchemyError):
            raise
        except Exception as error:
            # A fault of ours: it would come again with every attempt, and hold up all entries behind it.
            raise Refused(f"{type(error).__name__}: {error}") from error

    def _record(self, name: str, record: Record) -> None:
        run = self._run_of(name, record)
        if run.data.tags.get(HOLDS) == name:
            return
        run_id = run.info.run_id
        metrics = record.metrics | (_figures(record.exam) if record.exam else {})
        tags = {**record.tags, "mlflow.note.content": _note(record), FROM: name}
        self._log(run_id, record, record.parameters, metrics, record.best, tags)
        self._write_children(run, record)
        with tempfile.TemporaryDirectory() as folder:
            tables.write(record, Path(folder))
            self._client.log_artifacts(run_id, folder)
        if record.version:
            self._registry.register(record, run_id)
        self._client.set_terminated(run_id, record.status, milliseconds(record.finished_at))
        self._client.set_tag(run_id, HOLDS, name)

    def _run_of(self, name: str, record: Record) -> Run:
        """The run that the trainer began, or that an interrupted attempt made, or a new one that began when it did."""
        if run := self._find(record.mlflow_run_id):
            return run
        experiment = self._experiment()
        if found := self._client.search_runs([experiment], f"tags.`{FROM}` = '{name}'", max_results=1):
            return found[0]
        return self._client.create_run(experiment, milliseconds(record.started_at), {FROM: name}, record.name)

    def _write_children(self, parent: Run, record: Record) -> None:
        experiment, parent_id = parent.info.experiment_id, parent.info.run_id
        filter_string = f"tags.`mlflow.parentRunId` = '{parent_id}'"
        known = {run.info.run_name: run for run in self._client.search_runs([experiment], filter_string)}
        for challenger in record.compared:
            tags = {"mlflow.parentRunId": parent_id}
            child = known.get(challenger.name) or self._client.create_run(
                experiment, milliseconds(record.started_at), tags, challenger.name
            )
            about = {"strategy": challenger.strategy, "algorithm": challenger.algorithm}
            parameters = {**about, **challenger.parameters}
            self._log(child.info.run_id, record, parameters, {record.metric: challenger.score}, challenger, about)
            self._client.set_terminated(child.info.run_id, end_time=milliseconds(record.finished_at))

    def _log(
        self,
        run_id: str,
        record: Record,
        parameters: Mapping[str, object],
        metrics: Mapping[str, float | None],
        curves: Challenger | None,
        tags: Mapping[str, str],
    ) -> None:
        # One time for all of them: a point that is written again is the same point.
        time = milliseconds(record.finished_at)
        points = [Metric(name, value, time, 0) for name, value in metrics.items() if _is_figure(value)]
        if curves:
            points += _curve(f"training_{record.metric}", curves.training, time)
            points += _curve(f"validation_{record.metric}", curves.validation, time)
        self._client.log_batch(
            run_id,
            points,
            [Param(name, str(value)) for name, value in parameters.items()],
            [RunTag(name, value) for name, value in tags.items()],
        )

    def _abandon(self, run_id: str) -> None:
        run = self._find(run_id)
        if run is not None and run.info.status == "RUNNING":
            self._client.set_terminated(run_id, "KILLED")

    def _find(self, run_id: str | None) -> Run | None:
        """The run, unless somebody deleted it or the database is another by now."""
        if run_id is None:
            return None
        try:
            run = self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        return run if run.info.lifecycle_stage == "active" else None

    def _experiment(self) -> str:
        experiment = self._client.get_experiment_by_name(self._project)
        if experiment is None:
            location = self._location.resolve().as_uri() if self._location else None
            try:
                return str(self._client.create_experiment(self._project, artifact_location=location))
            except MlflowException:
                # A rival may have made it since the look.
                experiment = self._client.get_experiment_by_name(self._project)
                if experiment is None:
                    raise
        if experiment.lifecycle_stage == "deleted":
            self._client.restore_experiment(experiment.experiment_id)
        return str(experiment.experiment_id)


def _is_figure(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _curve(name: str, values: Sequence[float | None], time: int) -> list[Metric]:
    return [Metric(name, value, time, fold) for fold, value in enumerate(values, start=1) if _is_figure(value)]


def _figures(exam: Exam) -> dict[str, float | None]:
    return {
        "exam.rows": float(exam.rows),
        "exam.look": float(exam.look),
        "exam.champion": exam.champion_score,
        "exam.challenger": exam.challenger_score,
        "exam.difference": exam.difference,
        "exam.lower": exam.lower,
        "exam.upper": exam.upper,
    }


def _note(record: Record) -> str:
    """What MLflow shows at the head of the run, in Markdown."""
    verdict, reason = record.tags.get("verdict", ""), record.tags.get("reason", "")
    return f"**{verdict}** {reason}" if verdict else reason
