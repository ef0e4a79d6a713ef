"""Candidate algorithms: build, fit, predict."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.neural_network import MLPClassifier

from boucle.arrays import FloatArray, IndexArray
from boucle.errors import InvalidProject, NotEnoughData

ALGORITHMS: dict[str, tuple[Any, dict[str, Any]]] = {
    "logistic_regression": (LogisticRegression, {"max_iter": 1000}),
    "random_forest": (RandomForestClassifier, {"n_estimators": 100}),
    "hist_gradient_boosting": (HistGradientBoostingClassifier, {}),
    "sgd": (SGDClassifier, {"loss": "log_loss"}),
    "mlp": (MLPClassifier, {"max_iter": 500}),
}


@dataclass(frozen=True)
class Recipe:
    """What to fit: the algorithm's name, its parameters, its seed."""

    algorithm: str
    parameters: Mapping[str, Any]
    seed: int

    @property
    def resolved(self) -> dict[str, Any]:
        """The parameters with Boucle's defaults below them."""
        return {**ALGORITHMS[self.algorithm][1], **self.parameters}


@dataclass(frozen=True)
class Model:
    """A fitted classifier over the classes 0 … ``n_classes`` - 1 of the contract's target."""

    estimator: Any  # scikit-learn's classifiers share methods, not a type
    n_classes: int

    def probabilities(self, vectors: FloatArray) -> FloatArray:
        """Shape (n_rows, n_classes); a class that the fit never saw has probability 0."""
        aligned = np.zeros((len(vectors), self.n_classes))
        aligned[:, self.estimator.classes_] = self.estimator.predict_proba(vectors)
        return aligned


def fit(recipe: Recipe, vectors: FloatArray, labels: IndexArray, n_classes: int) -> Model:
    """The recipe fitted on ``vectors`` (n_rows, n_components) and ``labels`` (n_rows,), positions of classes.

    Raises:
        NotEnoughData: when all labels are the same.
        InvalidProject: when the algorithm refuses a parameter.
    """
    if len(np.unique(labels)) < 2:
        raise NotEnoughData(f"{len(labels)} rows of one single class: a classifier needs two")
    constructor, _ = ALGORITHMS[recipe.algorithm]
    try:
        estimator = constructor(**recipe.resolved, random_state=recipe.seed).fit(vectors, labels)
    except TypeError as error:  # also what scikit-learn raises for a parameter out of range
        raise InvalidProject(f"training.parameters.{recipe.algorithm}: {error}") from error
    return Model(estimator, n_classes)
