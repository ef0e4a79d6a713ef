"""Candidate algorithms and recipes: build, fit, fine-tune, predict."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier, SGDRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from boucle.arrays import FloatArray, IndexArray, Labels
from boucle.config import Strategy
from boucle.errors import InvalidProject, NotEnoughData

# A row that has lost twenty halves weighs a millionth: leaving it out changes nothing but the cost.
HALF_LIVES_KEPT = 20
LAST = "model"  # name of the last step
FINE_TUNE_PASSES = 5
FINE_TUNE_TREES = 0.2  # share of a forest's trees that a fine-tuning replaces


def _rounded() -> FunctionTransformer:
    """A rotation's last bits are no information: scaled up or split apart, they would decide about unseen values."""
    return FunctionTransformer(np.round, kw_args={"decimals": 9})


def _scaled(constructor: Any) -> Callable[..., Pipeline]:  # scikit-learn's estimators share no type
    """Gradient steps and penalties need components of unit size, also when these have drifted since the embedding."""
    return lambda **parameters: Pipeline(
        [("rounded", _rounded()), ("scale", StandardScaler()), (LAST, constructor(**parameters))]
    )


def _scaled_both_ways(constructor: Any) -> Callable[..., TransformedTargetRegressor]:
    """The same for a target in the user's unit."""
    return lambda **parameters: TransformedTargetRegressor(
        _scaled(constructor)(**parameters), transformer=StandardScaler()
    )


CLASSIFIERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "logistic_regression": (_scaled(LogisticRegression), {"max_iter": 1000}),
    "random_forest": (RandomForestClassifier, {"n_estimators": 100}),
    "hist_gradient_boosting": (HistGradientBoostingClassifier, {}),
    "sgd": (_scaled(SGDClassifier), {"loss": "log_loss"}),
    "mlp": (_scaled(MLPClassifier), {"max_iter": 500}),
}
REGRESSORS: dict[str, tuple[Any, dict[str, Any]]] = {
    "ridge": (_scaled(Ridge), {}),
    # Fully grown on a quantity, a forest has a leaf for every row and takes gigabytes.
    "random_forest": (RandomForestRegressor, {"n_estimators": 100, "min_samples_leaf": 5}),
    "hist_gradient_boosting": (HistGradientBoostingRegressor, {}),
    "sgd": (_scaled_both_ways(SGDRegressor), {}),
    "mlp": (_scaled_both_ways(MLPRegressor), {"max_iter": 500}),
}
TREES = ("random_forest", "hist_gradient_boosting")
# Gradient boosting is not here: scikit-learn's warm start bins new rows anew, and reads the old trees in wrong bins.
FINE_TUNABLE = ("logistic_regression", "random_forest", "sgd", "mlp")


@dataclass(frozen=True)
class Recipe:
    """What to fit and on which rows: algorithm, parameters, seed, and how the past is remembered.

    ``memory`` counts rows: the half-life of `recency`, the length of `window`. ``most_rows`` bounds every fit:
    `scratch` then learns from a uniform sample, the others from the newest rows. ``balanced`` gives every class the
    same weight, however rare. ``columns`` is the embedding's way back from components to columns: trees take it, as
    a rotation mixes what they split apart.
    """

    algorithm: str
    parameters: Mapping[str, Any]
    seed: int
    strategy: Strategy = "scratch"
    memory: int | None = None
    most_rows: int = 20_000
    balanced: bool = False
    columns: Any = field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        """How people read it, such as ``random forest, recency 2000``."""
        memory = f" {self.memory}" if self.memory else ""
        return f"{self.algorithm.replace('_', ' ')}, {self.strategy.replace('_', ' ')}{memory}"

    def resolved(self, *, classifies: bool) -> dict[str, Any]:
        """The parameters with Boucle's defaults below them."""
        return {**_catalogue(classifies)[self.algorithm][1], **self.parameters}

    def remembers(self, rows: int) -> tuple[IndexArray, FloatArray | None]:
        """Positions of the rows to learn from, out of ``rows`` in time order, and their weights if they differ."""
        if self.strategy == "window" and self.memory:
            return np.arange(max(0, rows - min(self.memory, self.most_rows)), rows), None
        if self.strategy == "recency" and self.memory:
            kept = np.arange(max(0, rows - min(HALF_LIVES_KEPT * self.memory, self.most_rows)), rows)
            return kept, np.asarray(0.5 ** ((rows - 1 - kept) / self.memory))
        if rows > self.most_rows:
            random = np.random.default_rng(self.seed)
            return np.sort(random.choice(rows, self.most_rows, replace=False)), None
        return np.arange(rows), None


@dataclass(frozen=True)
class Model:
    """A fitted estimator; ``n_classes`` is None when it predicts a quantity."""

    estimator: Any  # scikit-learn's estimators share methods, not a type
    n_classes: int | None

    def outputs(self, vectors: FloatArray) -> FloatArray:
        """Probabilities, shape (n_rows, n_classes), or the quantity, shape (n_rows, 1).

        A class that the fit never saw has probability 0.
        """
        if self.n_classes is None:
            return np.asarray(self.estimator.predict(vectors), dtype=np.float64).reshape(-1, 1)
        aligned = np.zeros((len(vectors), self.n_classes))
        aligned[:, self.estimator.classes_] = self.estimator.predict_proba(vectors)
        return aligned

    def widened(self, n_classes: int) -> "Model":
        """The same model where more classes are known: it gives the new ones probability 0."""
        return Model(self.estimator, n_classes)


def fit(recipe: Recipe, vectors: FloatArray, labels: Labels, n_classes: int | None) -> Model:
    """The recipe fitted on what it remembers of ``vectors`` (n_rows, n_components) and ``labels`` (n_rows,).

    Rows are in time order; labels are positions of classes, or quantities when ``n_classes`` is None.

    Raises:
        NotEnoughData: when all labels are the same class.
        InvalidProject: when the algorithm refuses a parameter.
    """
    kept, weights = recipe.remembers(len(labels))
    vectors, labels = vectors[kept], labels[kept]
    if n_classes is not None and len(np.unique(labels)) < 2:
        raise NotEnoughData(f"{len(labels)} rows of one single class: a classifier needs two")
    constructor, _ = _catalogue(n_classes is not None)[recipe.algorithm]
    parameters = recipe.resolved(classifies=n_classes is not None)
    try:
        estimator = _on_columns(recipe, constructor(**parameters, random_state=recipe.seed))
        estimator.fit(vectors, labels, **_weighted(estimator, _balanced(recipe, labels, weights)))
    except TypeError as error:  # also what scikit-learn raises for a parameter out of range
        raise InvalidProject(f"training.parameters.{recipe.algorithm}: {error}") from error
    return Model(estimator, n_classes)


def fine_tune(model: Model, recipe: Recipe, vectors: FloatArray, labels: Labels) -> Model:
    """A copy of the model that went on learning from these rows; its cost does not depend on what it learnt before.

    Logistic regression and networks start from the model's weights; a forest replaces its oldest trees.

    Raises:
        NotEnoughData: when there is no row, or the rows do not hold exactly the classes that the model knows.
    """
    kept = slice(-recipe.most_rows, None)
    vectors, labels = vectors[kept], labels[kept]
    estimator = copy.deepcopy(model.estimator)
    if not len(labels) or (model.n_classes and not np.array_equal(np.unique(labels), estimator.classes_)):
        raise NotEnoughData("fine-tuning needs rows of exactly the classes that the model knows")
    _go_on(estimator, vectors, labels, _balanced(recipe, labels, None))
    return Model(estimator, model.n_classes)


def _balanced(recipe: Recipe, labels: Labels, weights: FloatArray | None) -> FloatArray | None:
    """The rows' weights with those of their classes: n_rows / (n_classes x rows of the class)."""
    if not recipe.balanced:
        return weights
    _, positions, counts = np.unique(labels, return_inverse=True, return_counts=True)
    of_class = len(labels) / (len(counts) * counts[positions])
    return np.asarray(of_class if weights is None else of_class * weights)


def _weighted(estimator: Any, weights: FloatArray | None) -> dict[str, FloatArray]:
    if weights is None:
        return {}
    in_pipeline = isinstance(estimator, Pipeline | TransformedTargetRegressor)
    return {f"{LAST}__sample_weight" if in_pipeline else "sample_weight": weights}


def _on_columns(recipe: Recipe, estimator: Any) -> Any:
    if recipe.columns is None or recipe.algorithm not in TREES:
        return estimator
    # Frozen, or the pipeline would fit it anew to what is to be undone.
    columns = FrozenEstimator(recipe.columns)
    return Pipeline([("columns", columns), ("rounded", _rounded()), (LAST, estimator)])


def _go_on(estimator: Any, vectors: FloatArray, labels: Labels, weights: FloatArray | None) -> None:
    """Teach the last step; what stands before it stays as it was when the step learnt first."""
    if isinstance(estimator, TransformedTargetRegressor):
        labels = estimator.transformer_.transform(labels.reshape(-1, 1)).ravel()
        estimator = estimator.regressor_
    last = estimator
    if isinstance(estimator, Pipeline):
        vectors, last = estimator[:-1].transform(vectors), estimator[LAST]
    if isinstance(last, LogisticRegression):
        last.set_params(warm_start=True).fit(vectors, labels, weights)
    elif isinstance(last, RandomForestClassifier | RandomForestRegressor):
        _replace_trees(last, vectors, labels, weights)
    else:
        for _ in range(FINE_TUNE_PASSES):
            last.partial_fit(vectors, labels, sample_weight=weights)


def _replace_trees(forest: Any, vectors: FloatArray, labels: Labels, weights: FloatArray | None) -> None:
    size = len(forest.estimators_)
    forest.set_params(warm_start=True, n_estimators=size + max(1, round(FINE_TUNE_TREES * size)))
    forest.fit(vectors, labels, weights)
    forest.estimators_ = forest.estimators_[-size:]
    forest.set_params(warm_start=False, n_estimators=size)


def catalogue(*, classifies: bool) -> tuple[str, ...]:
    """Names of the algorithms that predict classes, or a quantity."""
    return tuple(_catalogue(classifies))


def _catalogue(classifies: bool) -> dict[str, tuple[Any, dict[str, Any]]]:
    return CLASSIFIERS if classifies else REGRESSORS
