"""Reference rows to the first version: compare the candidates, keep the best, point at it."""

import hashlib
import json
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from boucle import evaluation, models
from boucle.arrays import FloatArray, Labels
from boucle.artifacts import HELD_OUT, Artifacts, Manifest
from boucle.config import Algorithm, Project
from boucle.contract import Quantity, Target
from boucle.embedding import Embedding
from boucle.errors import BoucleError, CorruptArtifact, InvalidProject, ModelNotFound
from boucle.exam import Challenger, defined
from boucle.models import Model, Recipe
from boucle.preparation import Preparation, Report
from boucle.publishing import Lineage, publish
from boucle.tracking import Record, Tracker


def train(
    project: Project, preparation: Preparation, artifacts: Artifacts, tracker: Tracker, report: Report, actor: str
) -> Manifest:
    """Publish the candidate that cross-validates best, fitted on all reference rows, and make it the champion.

    Raises:
        ChampionMoved: when somebody else promoted a version meanwhile.
    """
    started_at, replaced = datetime.now(UTC), artifacts.champion_version()
    metric, recipes = metric_of(project, preparation.contract.target), candidates(project, preparation.embedding)
    mlflow_run_id = tracker.start("train")
    try:
        compared = [_cross_validate(recipe, preparation, metric, project.training.folds, report) for recipe in recipes]
    except BoucleError:
        if mlflow_run_id is not None:
            tracker.abandon(mlflow_run_id)
        raise
    best, challenger = max(
        compared, key=lambda pair: evaluation.goodness(metric, math.nan if pair[1].score is None else pair[1].score)
    )
    report(f"fitting {best.algorithm} on {len(preparation.labels):,} rows")
    model = models.fit(best, preparation.vectors, preparation.labels, preparation.contract.target.n_classes)
    scores = [value for value in challenger.validation if value is not None]
    metrics = {
        "cross-validation": {metric: float(np.mean(scores)), f"{metric}_std": float(np.std(scores))},
        HELD_OUT: test_scores(model, preparation),
    }
    reason = f"best of {len(compared)} candidates by cross-validation"
    lineage = Lineage(
        fingerprint(project, preparation), metric, reason=reason, parent_version=replaced, mlflow_run_id=mlflow_run_id
    )
    manifest = publish(artifacts, preparation, project.project.name, best, model, metrics, lineage)
    artifacts.promote(manifest.version, replacing=replaced, reason=reason, actor=actor)
    report(f"{manifest.version} is the champion: {best.algorithm}, {reason}")
    tracker.record(
        Record(
            name="train",
            mlflow_run_id=mlflow_run_id,
            started_at=started_at,
            finished_at=datetime.now(UTC),
            metric=metric,
            parameters={"algorithm": manifest.algorithm, "strategy": manifest.strategy, **manifest.parameters},
            metrics=flat(metrics),
            tags={"trigger": actor, "verdict": "promoted", "reason": reason, **tags_of(manifest)},
            challengers=tuple(challenger for _, challenger in compared),
            winner=challenger.name,
            version=manifest.version,
            alias="champion",
        )
    )
    return manifest


def candidates(project: Project, embedding: Embedding) -> list[Recipe]:
    """The project's algorithms, each to be fitted on every row alike.

    Raises:
        InvalidProject: when one of them cannot predict this target.
    """
    training, target = project.training, embedding.contract.target
    classifies = not isinstance(target, Quantity)
    known = models.catalogue(classifies=classifies)
    names: Sequence[Algorithm] = training.candidates or (
        "logistic_regression" if classifies else "ridge",
        "random_forest",
    )
    unfit = [name for name in names if name not in known]
    if unfit:
        raise InvalidProject(f"training.candidates: {unfit[0]} cannot predict {_kind(target)}; {', '.join(known)} can")
    balanced = classifies and training.class_weight == "balanced"
    return [
        Recipe(
            name,
            training.parameters.get(name, {}),
            training.seed,
            most_rows=training.max_rows,
            balanced=balanced,
            columns=embedding.columns_of_vectors(),
        )
        for name in names
    ]


def metric_of(project: Project, target: Target) -> str:
    """The metric that decides.

    Raises:
        InvalidProject: when it does not suit the target.
    """
    known = evaluation.QUANTITY_METRICS if isinstance(target, Quantity) else evaluation.CLASS_METRICS
    metric = project.training.metric or known[0]
    if metric not in known:
        raise InvalidProject(f"training.metric = {metric!r} does not judge {_kind(target)}; {', '.join(known)} do")
    return metric


def fingerprint(project: Project, preparation: Preparation) -> str:
    """A name for what `train` would make: equal preparation and training section, equal name."""
    # What only a retraining uses changes nothing here.
    only = {"candidates", "parameters", "metric", "folds", "seed", "max_rows", "class_weight"}
    inputs = [preparation.embedding.fit_id, project.training.model_dump(mode="json", include=only)]
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def is_current(project: Project, preparation: Preparation, artifacts: Artifacts) -> bool:
    """Whether the champion, or what it was retrained from, is what `train` would make now."""
    try:
        champion = artifacts.load_champion().manifest
    except (ModelNotFound, CorruptArtifact):  # somebody deleted or damaged it: training again mends that
        return False
    return champion.fingerprint == fingerprint(project, preparation)


def flat(metrics: dict[str, dict[str, float]]) -> dict[str, float | None]:
    """The figures under one name each, such as ``held_out_test_rows.accuracy``."""
    return {
        f"{re.sub(r'[^a-z]+', '_', where)}.{metric}": value
        for where, values in metrics.items()
        for metric, value in values.items()
    }


def tags_of(manifest: Manifest) -> dict[str, str]:
    """Where a version comes from, as MLflow's tags."""
    return {
        "version": manifest.version,
        "parent_version": manifest.parent_version or "",
        "fingerprint": manifest.fingerprint,
        "preparation": manifest.preparation_id,
    }


def test_scores(model: Model, preparation: Preparation) -> dict[str, float]:
    """Every metric on the held-out rows, which no fit has seen."""
    outputs = model.outputs(preparation.embedding.vectors(preparation.test_records))
    return evaluation.all_scores(preparation.test_labels, outputs, classifies=model.n_classes is not None)


def _cross_validate(
    recipe: Recipe, preparation: Preparation, metric: str, folds: int, report: Report
) -> tuple[Recipe, Challenger]:
    def fit(vectors: FloatArray, labels: Labels) -> Model:
        return models.fit(recipe, vectors, labels, preparation.contract.target.n_classes)

    scores: list[tuple[float, float]] = []
    for pair in evaluation.cross_validated(fit, metric, preparation.vectors, preparation.labels, folds, recipe.seed):
        scores.append(pair)
        report(f"{recipe.algorithm}: fold {len(scores)} of {folds}, {metric} {pair[0]:.4f}")
    validation, training = zip(*scores, strict=True)
    report(f"{recipe.algorithm}: {metric} {np.mean(validation):.4f} ± {np.std(validation):.4f}")
    return recipe, _showing(recipe, validation, training)


def _showing(recipe: Recipe, validation: Sequence[float], training: Sequence[float]) -> Challenger:
    return Challenger(
        name=recipe.name,
        algorithm=recipe.algorithm,
        strategy=recipe.strategy,
        parameters=dict(recipe.parameters),
        score=defined(float(np.mean(validation))),
        validation=tuple(defined(value) for value in validation),
        training=tuple(defined(value) for value in training),
    )


def _kind(target: Target) -> str:
    return "a quantity" if isinstance(target, Quantity) else "classes"
