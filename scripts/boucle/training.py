"""Reference rows to the first version: compare the candidates, keep the best, point at it."""

import hashlib
import json
import re
from datetime import UTC, datetime

import numpy as np

from boucle import evaluation, models
from boucle.arrays import FloatArray, IndexArray
from boucle.artifacts import Artifacts, Manifest
from boucle.config import Project
from boucle.errors import CorruptArtifact, ModelNotFound
from boucle.exam import Challenger
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
    compared = [(recipe, _cross_validate(recipe, preparation, project, report)) for recipe in recipes(project)]
    best, scores = max(compared, key=lambda pair: float(np.mean(pair[1])))
    report(f"fitting {best.algorithm} on {len(preparation.labels):,} rows")
    model = fitter(best, preparation)(preparation.vectors, preparation.labels)
    metrics = {
        "cross-validation": {
            project.training.metric: float(np.mean(scores)),
            f"{project.training.metric}_std": float(np.std(scores)),
        },
        "held-out test rows": test_scores(model, preparation),
    }
    mlflow_run_id = tracker.start(f"train {best.algorithm}")
    lineage = Lineage(fingerprint(project, preparation), parent_version=replaced, mlflow_run_id=mlflow_run_id)
    manifest = publish(artifacts, project, preparation, best, model, metrics, lineage)
    reason = f"best of {len(compared)} candidates by cross-validation"
    artifacts.promote(manifest.version, replacing=replaced, reason=reason, actor=actor)
    report(f"{manifest.version} is the champion: {best.algorithm}, {reason}")
    tracker.record(
        Record(
            name=f"train {best.algorithm}",
            mlflow_run_id=mlflow_run_id,
            started_at=started_at,
            finished_at=datetime.now(UTC),
            metric=project.training.metric,
            parameters={"algorithm": best.algorithm, **best.resolved},
            metrics=dict(flat(metrics)),
            tags={"verdict": "promoted", "reason": reason, "fingerprint": lineage.fingerprint},
            challengers=tuple(
                Challenger(
                    name=recipe.algorithm,
                    algorithm=recipe.algorithm,
                    strategy="from scratch",
                    parameters=recipe.resolved,
                    score=float(np.mean(values)),
                    validation=tuple(values),
                )
                for recipe, values in compared
            ),
            winner=best.algorithm,
            version=manifest.version,
            alias="champion",
        )
    )
    return manifest


def recipes(project: Project) -> list[Recipe]:
    """The candidates of the project."""
    training = project.training
    return [Recipe(name, training.parameters.get(name, {}), training.seed) for name in training.candidates]


def fitter(recipe: Recipe, preparation: Preparation) -> evaluation.Fit:
    """A function of vectors and labels that gives the fitted model."""
    n_classes = len(preparation.contract.target.classes)

    def fit(vectors: FloatArray, labels: IndexArray) -> Model:
        return models.fit(recipe, vectors, labels, n_classes)

    return fit


def fingerprint(project: Project, preparation: Preparation) -> str:
    """A name for what `train` would make: equal preparation and training section, equal name."""
    inputs = [preparation.id, project.training.model_dump(mode="json")]
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def is_current(project: Project, preparation: Preparation, artifacts: Artifacts) -> bool:
    """Whether the champion, or what it was retrained from, is what `train` would make now."""
    try:
        champion = artifacts.load_champion().manifest
    except (ModelNotFound, CorruptArtifact):  # somebody deleted or damaged it: training again mends that
        return False
    return champion.fingerprint == fingerprint(project, preparation)


def flat(metrics: dict[str, dict[str, float]]) -> dict[str, float]:
    """The figures under one name each, such as ``held_out_test_rows.accuracy``."""
    return {
        f"{re.sub(r'[^a-z]+', '_', where)}.{metric}": value
        for where, values in metrics.items()
        for metric, value in values.items()
    }


def _cross_validate(recipe: Recipe, preparation: Preparation, project: Project, report: Report) -> list[float]:
    training = project.training
    fit = fitter(recipe, preparation)
    scores: list[float] = []
    for value in evaluation.cross_validated(
        fit, training.metric, preparation.vectors, preparation.labels, training.folds, training.seed
    ):
        scores.append(value)
        report(f"{recipe.algorithm}: fold {len(scores)} of {training.folds}, {training.metric} {value:.4f}")
    report(f"{recipe.algorithm}: {training.metric} {np.mean(scores):.4f} ± {np.std(scores):.4f}")
    return scores


def test_scores(model: Model, preparation: Preparation) -> dict[str, float]:
    """Every metric on the held-out rows, which no fit has seen."""
    vectors = preparation.embedding.vectors(preparation.test_records)
    return evaluation.all_scores(preparation.test_labels, model.probabilities(vectors))
