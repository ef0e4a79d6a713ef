"""Whether recent rows differ from the reference in all columns together: can a classifier tell them apart?

A domain classifier sees what no column shows alone, such as a correlation that is lost: Lopez-Paz and Oquab (2017),
Revisiting Classifier Two-Sample Tests. Here it is a ridge regression on squares and products, since that is linear in
its labels: fitting it again for hundreds of permutations of them costs little more than once. So the p-value needs no
formula for an area under cross-validation, whose folds depend on each other; it holds for any rows, exactly.

For one column alone `compare` sees more: use both.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from boucle.arrays import FloatArray, IndexArray
from boucle.drift.moves import CRITICAL

# How well a shift of one normal column by 0.36 standard deviations can be told; a coin has 0.5.
EFFECT = 0.6
PERMUTATIONS = 399
FOLDS = 5
# A column of at most so many values is taken as categories, each a feature of its own.
FEW_VALUES = 12
COMPONENTS = 30
# Chosen by power at 200 rows: more weight on the products sees lost correlations sooner, and shifts later.
PRODUCTS_WEIGHT = 0.6
PENALTY = 0.1  # per row, of features with unit variance


@dataclass(frozen=True)
class Joint:
    """The area under the ROC curve of the domain classifier on rows held out of its fit; 0.5 is a coin."""

    auc: float
    p_value: float

    @property
    def drifted(self) -> bool:
        """Whether it tells the sides apart well, and not by chance."""
        return self.auc >= EFFECT and self.p_value <= CRITICAL


def separation(reference: FloatArray, current: FloatArray, seed: int) -> Joint:
    """How well the rows of both sides can be told apart; shapes (n, n_columns) and (m, n_columns), NaN is missing.

    The area is the mean over five folds, each predicted from the others. With fewer than five rows on a side nobody
    can tell: 0.5.
    """
    if min(len(reference), len(current)) < FOLDS:
        return Joint(0.5, 1.0)
    random = np.random.default_rng(seed)
    folds = np.concatenate([random.permutation(np.arange(rows) % FOLDS) for rows in (len(reference), len(current))])
    labels = _labels(np.arange(len(folds)) >= len(reference), folds, random)
    features = _features(np.concatenate([reference, current]))
    areas = np.mean([_areas(scores, held_out) for scores, held_out in _held_out(features, labels, folds)], axis=0)
    # The same areas of the same labels may differ in their last bits.
    return Joint(float(areas[0]), float((1 + (areas[1:] >= areas[0] - 1e-9).sum()) / len(areas)))


def _labels(truth: NDArray[np.bool_], folds: IndexArray, random: np.random.Generator) -> FloatArray:
    """1 for current rows: in truth (the first column), and permuted within each fold."""
    labels = np.repeat(truth[:, np.newaxis], 1 + PERMUTATIONS, axis=1)
    for fold in range(FOLDS):
        rows = np.flatnonzero(folds == fold)
        labels[rows, 1:] = random.permuted(labels[rows, 1:], axis=0)
    return labels.astype(np.float64)


def _held_out(features: FloatArray, labels: FloatArray, folds: IndexArray) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Of each fold the scores by the classifiers fitted on the others, one per column of labels; and its labels."""
    centred = labels - labels[:, 0].mean()
    gram, moments = features.T @ features, features.T @ centred
    for fold in range(FOLDS):
        rows = folds == fold
        held_out = features[rows]
        penalty = PENALTY * np.count_nonzero(~rows) * np.eye(features.shape[1])
        weights = np.linalg.solve(gram - held_out.T @ held_out + penalty, moments - held_out.T @ centred[rows])
        yield held_out @ weights, labels[rows]


def _areas(scores: FloatArray, labels: FloatArray) -> FloatArray:
    """The area under the ROC curve for every column of scores and labels: Mann and Whitney's U over its maximum."""
    current = labels[:, 0].sum()
    above = (rankdata(scores, axis=0) * labels).sum(axis=0) - current * (current + 1) / 2
    areas: FloatArray = above / (current * (len(labels) - current))
    return areas


def _features(rows: FloatArray) -> FloatArray:
    """Normal scores, categories and gaps of the columns, their squares, and products of their principal components.

    Of both sides together: whatever depended on the side would spoil the permutations.
    """
    columns = [feature for column in rows.T for feature in _of_column(column)]
    plain = _standardized(np.stack(columns, axis=1) if columns else np.zeros((len(rows), 0)))
    components = _components(plain)
    first, second = np.triu_indices(components.shape[1])
    products = _standardized(components[:, first] * components[:, second])
    weight = PRODUCTS_WEIGHT / np.sqrt(max(components.shape[1] - 1, 1) / 2)
    return np.concatenate([plain, _standardized(plain**2), weight * products], axis=1)


def _of_column(column: FloatArray) -> Iterator[FloatArray]:
    present = ~np.isnan(column)
    values = np.unique(column[present])
    if len(values) <= FEW_VALUES:
        yield from ((column == value).astype(np.float64) for value in values)
    else:
        scores = np.zeros(len(column))
        scores[present] = norm.ppf((rankdata(column[present]) - 0.5) / np.count_nonzero(present))
        yield scores
    yield (~present).astype(np.float64)


def _components(features: FloatArray) -> FloatArray:
    """The largest principal components, whitened, of features with mean 0."""
    left, sizes, _ = np.linalg.svd(features, full_matrices=False)
    kept = min(COMPONENTS, np.count_nonzero(sizes > 1e-3 * sizes.max(initial=0.0)))
    components: FloatArray = left[:, :kept] * np.sqrt(len(features))
    return components


def _standardized(features: FloatArray) -> FloatArray:
    """Features with mean 0 and variance 1, but for the constant ones, which are left out."""
    centred = features - features.mean(axis=0)
    spread = centred.std(axis=0)
    varies = spread > 1e-9
    standardized: FloatArray = centred[:, varies] / spread[varies]
    return standardized
