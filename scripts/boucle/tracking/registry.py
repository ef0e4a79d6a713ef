"""MLflow's registry: one registered version a published version, and the aliases that say who serves."""

import importlib.metadata
import logging
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow.sklearn
import skops.io
from mlflow.entities.model_registry import ModelVersion as Registered
from mlflow.exceptions import MlflowException

from boucle.artifacts import MANIFEST, MODEL_CARD, Artifacts, Manifest, ModelVersion
from boucle.errors import CorruptArtifact, ModelNotFound
from boucle.tracking import pipeline
from boucle.tracking.entries import Pointing, Record

log = logging.getLogger(__name__)


class Registry:
    """The registered model of one project."""

    def __init__(self, client: mlflow.MlflowClient, project: str, artifacts: Artifacts) -> None:
        self._client = client
        self._name = re.sub(r"[^a-z0-9]+", "-", project.lower()).strip("-") or "boucle"
        self._artifacts = artifacts

    def register(self, record: Record, run_id: str) -> None:
        """Register the version of ``record``, if that is still there, and move the alias."""
        assert record.version  # noqa: S101  # the caller asked
        try:
            version = self._artifacts.load(record.version)
        except (ModelNotFound, CorruptArtifact) as error:
            log.warning("%s is recorded in mlflow without its model: %s", record.version, error)
            self._client.set_tag(run_id, "model", f"not recorded: {error}")
            if record.alias:
                # Whoever bears it is no longer what it says; nobody is better than the wrong one.
                self._drop(record.alias)
            return
        number = self._number(version.version, version.manifest.created_at) or self._add(version, record, run_id)
        if record.alias == "champion":
            self._crown(number)
        elif record.alias:
            self._client.set_registered_model_alias(self._name, record.alias, number)

    def point(self, pointing: Pointing) -> None:
        """Give the aliases `champion` and `previous` to the versions that the artifacts name so."""
        number = self._give("champion", pointing.champion)
        self._give("previous", pointing.previous)
        if number:
            self._tag(number, {"pointed_because": pointing.reason, "pointed_by": pointing.actor})

    def _give(self, alias: str, version: str | None) -> str | None:
        number = self._number(version) if version else None
        if number:
            self._client.set_registered_model_alias(self._name, alias, number)
            return number
        if version:
            log.warning("mlflow knows no version %s: nobody has the alias %s there", version, alias)
        self._drop(alias)
        return None

    def _crown(self, number: str) -> None:
        aliases = self._aliases()
        former = aliases.get("champion")
        if former == number:
            return
        # In this order: killed in between, the next attempt still finds the former champion.
        if former:
            self._client.set_registered_model_alias(self._name, "previous", former)
        self._client.set_registered_model_alias(self._name, "champion", number)
        if aliases.get("challenger") == number:
            self._drop("challenger")

    def _drop(self, alias: str) -> None:
        if alias in self._aliases():
            self._client.delete_registered_model_alias(self._name, alias)

    def _aliases(self) -> dict[str, str]:
        try:
            aliases = self._client.get_registered_model(self._name).aliases
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return {}
            raise
        # The embedded store says 1, a server "1".
        return {alias: str(number) for alias, number in aliases.items()}

    def _number(self, version: str, created_at: str | None = None) -> str | None:
        """MLflow's number of a version; of several that bore its name in the course of time, the newest."""
        wanted = f"name = '{self._name}' AND tags.version = '{version}'"
        if created_at:
            wanted += f" AND tags.created_at = '{created_at}'"
        found: list[Registered] = self._client.search_model_versions(wanted)
        return max((str(one.version) for one in found), key=int, default=None)

    def _add(self, version: ModelVersion, record: Record, run_id: str) -> str:
        manifest = version.manifest
        model_id = self._logged(run_id) or self._log(version, run_id)
        self._ensure_model()
        strategy = record.best.strategy if record.best else record.tags.get("strategy", "")
        added = self._client.create_model_version(
            self._name,
            f"models:/{model_id}",
            run_id=run_id,
            tags={
                "version": manifest.version,
                "created_at": manifest.created_at,
                "algorithm": manifest.algorithm,
                "strategy": strategy,
                "verdict": record.tags.get("verdict", ""),
            },
            description=self._artifacts.model_card(manifest.version),
            model_id=model_id,  # a server refuses the URI without it; the embedded store does not care
        )
        return str(added.version)

    def _logged(self, run_id: str) -> str | None:
        """The model that an interrupted attempt brought to the run."""
        outputs = self._client.get_run(run_id).outputs
        for output in outputs.model_outputs if outputs else []:
            if self._client.get_logged_model(output.model_id).status == "READY":
                return str(output.model_id)
        return None

    def _log(self, version: ModelVersion, run_id: str) -> str:
        whole = pipeline.build(version)
        with mlflow.start_run(run_id=run_id), TemporaryDirectory() as folder:
            for name in (MANIFEST, MODEL_CARD):
                (Path(folder) / name).write_bytes((self._artifacts.root / version.version / name).read_bytes())
            mlflow.log_artifacts(folder, "version")
            logged = mlflow.sklearn.log_model(
                whole,
                name=version.version,
                signature=pipeline.signature(whole, version.contract),
                input_example=pipeline.example(version.contract),
                # Given, or MLflow would take seconds to guess them.
                pip_requirements=_requirements(version.manifest),
                skops_trusted_types=skops.io.get_untrusted_types(data=skops.io.dumps(whole)),
            )
        return str(logged.model_id)

    def _ensure_model(self) -> None:
        try:
            self._client.get_registered_model(self._name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            self._client.create_registered_model(self._name)

    def _tag(self, number: str, tags: dict[str, str]) -> None:
        for key, value in tags.items():
            self._client.set_model_version_tag(self._name, number, key, value)


def _requirements(manifest: Manifest) -> list[str]:
    fitted = [f"{name}=={manifest.libraries[name]}" for name in ("scikit-learn", "numpy") if name in manifest.libraries]
    return fitted + [f"{name}=={importlib.metadata.version(name)}" for name in ("pandas", "skops")]
