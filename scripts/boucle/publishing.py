"""From a fitted model to a version in the artifacts: manifest, model card, files."""

import importlib.metadata
from dataclasses import dataclass
from datetime import UTC, datetime

from boucle import background, compiler, files, scorer
from boucle.artifacts import MODEL_CARD, Artifacts, Manifest
from boucle.contract import Quantity
from boucle.models import Model, Recipe
from boucle.preparation import Preparation

LIBRARIES = ("scikit-learn", "numpy", "scipy", "joblib", "boucle")


@dataclass(frozen=True)
class Lineage:
    """Where a version comes from."""

    fingerprint: str
    metric: str
    verdict: str = "promoted"
    reason: str = ""
    parent_version: str | None = None
    feedback_row: int = 0
    run_id: int | None = None
    mlflow_run_id: str | None = None


def publish(
    artifacts: Artifacts,
    preparation: Preparation,
    project: str,
    recipe: Recipe,
    model: Model,
    metrics: dict[str, dict[str, float]],
    lineage: Lineage,
) -> Manifest:
    """Store the model with its embedding as a new version; the champion stays who it is.

    It is compiled for serving, and compared with what is pickled on all the reference rows.
    """
    compiled = compiler.compile_version(preparation.embedding, model, preparation.reference_records)
    manifest = Manifest(
        version="",
        created_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        project=project,
        fingerprint=lineage.fingerprint,
        preparation_id=preparation.id,
        contract=preparation.contract,
        algorithm=recipe.algorithm,
        parameters=recipe.resolved(classifies=model.n_classes is not None),
        metric=lineage.metric,
        metrics=metrics,
        reference_rows=len(preparation.labels),
        feedback_row=lineage.feedback_row,
        parent_version=lineage.parent_version,
        run_id=lineage.run_id,
        mlflow_run_id=lineage.mlflow_run_id,
        strategy=recipe.strategy,
        verdict=lineage.verdict,
        reason=lineage.reason,
        scorer=compiled.kind,
        scorer_verdict=compiled.verdict,
        libraries={name: importlib.metadata.version(name) for name in LIBRARIES},
    )
    contents = {
        "scaler.pkl": files.pickled(preparation.embedding.scaler),
        "embedding.pkl": files.pickled(preparation.embedding.projector),
        "model.pkl": files.pickled(model.estimator),
        MODEL_CARD: model_card(manifest).encode(),
        background.FILE: background.sample(preparation.reference_records, recipe.seed),
    }
    if compiled.content is not None:
        contents[scorer.FILE] = compiled.content
    return artifacts.publish(manifest, contents)


def model_card(manifest: Manifest) -> str:
    """What a person should know before trusting the model, in Markdown (Mitchell et al., 2019)."""
    target = manifest.contract.target
    predicted = "a number" if isinstance(target, Quantity) else ", ".join(str(label) for label in target.classes)
    scores = "\n".join(
        f"| {where} | {metric} | {value:.4f} |"
        for where, values in manifest.metrics.items()
        for metric, value in values.items()
    )
    parameters = ", ".join(f"{name} = {value!r}" for name, value in manifest.parameters.items())
    return f"""# {manifest.project}: {manifest.algorithm.replace("_", " ")}

Predicts `{target.name}` ({predicted}) from {len(manifest.contract.features)} columns. Made on {manifest.created_at}\
{f" from {manifest.parent_version}" if manifest.parent_version else ""}.

## Data
{manifest.reference_rows:,} reference rows (preparation `{manifest.preparation_id}`) and the feedback up to row \
{manifest.feedback_row:,}.

## Model
{manifest.algorithm.replace("_", " ")} ({manifest.strategy.replace("_", " ")}): {parameters}, on the components of the \
embedding.

## Metrics
| measured on | metric | value |
| --- | --- | --- |
{scores}

Chosen by {manifest.metric}.

## Serving
Answered by {manifest.scorer}: {manifest.scorer_verdict}.

## Verdict
{manifest.verdict}: {manifest.reason}

## Limits
It knows only populations like the reference rows and the feedback: a value outside their ranges, or a category that
they did not hold, is answered with a warning. Probabilities, where it
gives any, were not calibrated.
"""
