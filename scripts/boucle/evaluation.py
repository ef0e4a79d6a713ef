"""How good predictions are, on rows that the model has not seen, and how sure we can be of a difference."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    f1_score,
    mean_absolute_error,
    precision_score,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)
from sklearn.model_selection import KFold, StratifiedKFold

from boucle.arrays import FloatArray, IndexArray, Labels
from boucle.errors import NotEnoughData
from boucle.models import Model

Fit = Callable[[FloatArray, Labels], Model]

CLASS_METRICS = ("balanced_accuracy", "accuracy", "f1", "precision", "recall", "roc_auc")
BALANCED_METRICS = ("balanced_accuracy", "recall")  # one and the same, known by two names
ERRORS = ("mae", "rmse")
QUANTITY_METRICS = (*ERRORS, "r2")

MOST_BLOCKS, SMALLEST_BLOCK = 20, 5


@dataclass(frozen=True)
class Comparison:
    """Two models on the same rows. ``difference`` is the challenger's gain, with its standard error over ``blocks``."""

    metric: str
    rows: int
    champion: float
    challenger: float
    difference: float
    standard_error: float
    blocks: int


def score(metric: str, labels: Labels, outputs: FloatArray) -> float:
    """The metric of a model's ``outputs`` (n_rows, width) against ``labels`` (n_rows,).

    Precision, recall and F1 are the unweighted mean over the classes that occur. Balanced accuracy is that mean of the
    recalls (Brodersen et al., 2010). The area under the ROC curve is one against rest, averaged the same way, and NaN
    when only one class occurs. MAE, RMSE and R² are those of a quantity; R² is NaN for fewer than two rows.

    Raises:
        NotEnoughData: when there is no row.
    """
    if not len(labels):
        raise NotEnoughData("there is no row to evaluate on")
    if metric in QUANTITY_METRICS:
        return _quantity_score(metric, labels, outputs[:, 0])
    predicted = outputs.argmax(axis=1)
    # By hand, as an exam takes them some fifty times and scikit-learn a millisecond for each.
    if metric == "accuracy":
        return float(np.mean(predicted == labels))
    if metric in BALANCED_METRICS:
        counts = np.bincount(labels)
        hits = np.bincount(labels, weights=predicted == labels)
        return float(np.mean(hits[counts > 0] / counts[counts > 0]))
    occurring = np.unique(labels)
    average = {"labels": occurring, "average": "macro", "zero_division": 0.0}
    if metric == "precision":
        return float(precision_score(labels, predicted, **average))
    if metric == "f1":
        return float(f1_score(labels, predicted, **average))
    return _area_under_roc(labels, outputs, occurring)


def all_scores(labels: Labels, outputs: FloatArray, *, classifies: bool) -> dict[str, float]:
    """Every metric of the task by name."""
    return {name: score(name, labels, outputs) for name in (CLASS_METRICS if classifies else QUANTITY_METRICS)}


def goodness(metric: str, value: float) -> float:
    """The score turned so that more is better, whatever the metric; undefined is worst."""
    if math.isnan(value):
        return -math.inf
    return -value if metric in ERRORS else value


def gain(metric: str, champion: float, challenger: float) -> float:
    """What the challenger's score adds to the champion's; of an error, the share that it saves."""
    if metric in ERRORS:
        return (champion - challenger) / champion if champion else -float(challenger > 0)
    return challenger - champion


def compare(metric: str, labels: Labels, champion: FloatArray, challenger: FloatArray) -> Comparison:
    """The two models' outputs, each (n_rows, width), on the same rows in time order.

    Neighbouring rows are correlated, so rows are cut into contiguous blocks (few and large: Schmeiser, 1982, Operations
    Research 30(3)), and the standard error of the gain is the jackknife's over them. For classes it also counts one row
    won and one lost, drawn at random: when few rows tell the models apart, none of them lost proves little (Bonett &
    Price, 2012, J. Educational and Behavioral Statistics 37(4)).

    Raises:
        NotEnoughData: when there are too few rows for two blocks, or only one class.
    """
    check_comparable(metric, labels)
    rows = len(labels)
    blocks = min(MOST_BLOCKS, rows // SMALLEST_BLOCK)

    def scores(rest: IndexArray) -> tuple[float, float]:
        return score(metric, labels[rest], champion[rest]), score(metric, labels[rest], challenger[rest])

    everything = scores(np.arange(rows))
    error = jackknife_error(lambda rest: gain(metric, *scores(rest)), rows, blocks)
    error = math.hypot(error, math.sqrt(_few_rows_variance(metric, labels)))
    return Comparison(metric, rows, *everything, gain(metric, *everything), error, blocks)


def check_comparable(metric: str, labels: Labels) -> None:
    """Nothing, if two models can be compared on rows with these labels.

    Raises:
        NotEnoughData: when there are too few rows for two blocks, or only one class.
    """
    if len(labels) < 2 * SMALLEST_BLOCK:
        few = f"{len(labels)} exam rows are too few to compare on"
        raise NotEnoughData(f"{few}: at least {2 * SMALLEST_BLOCK} are needed")
    if metric not in QUANTITY_METRICS and len(np.unique(labels)) < 2:
        raise NotEnoughData(f"all {len(labels)} exam rows are of one class: nothing can be said of the others")


def jackknife_error(statistic: Callable[[IndexArray], float], rows: int, blocks: int) -> float:
    """Standard error of ``statistic``, which takes positions of rows, from leaving out one contiguous block at a time.

    Source: Künsch (1989), The jackknife and the bootstrap for general stationary observations, Annals of Statistics
    17(3).
    """
    bounds = pairwise(np.linspace(0, rows, blocks + 1).astype(int).tolist())
    without = [statistic(np.r_[0:begin, end:rows]) for begin, end in bounds]
    return math.sqrt((blocks - 1) * float(np.var(without)))


def cross_validated(
    fit: Fit, metric: str, vectors: FloatArray, labels: Labels, folds: int, seed: int
) -> Iterator[tuple[float, float]]:
    """The metric on each of ``folds`` parts, predicted by a model fitted on the others, and on those; one at a time.

    The parts are stratified by class.

    Raises:
        NotEnoughData: when a class, or the whole, has fewer rows than there are folds.
    """
    classifies = metric in CLASS_METRICS
    rarest = int(np.bincount(labels)[np.unique(labels)].min()) if classifies else len(labels)
    if rarest < folds:
        of = "the rarest class has" if classifies else "there are"
        raise NotEnoughData(f"training.folds = {folds}: {of} only {rarest} reference rows")
    splitter = (StratifiedKFold if classifies else KFold)(folds, shuffle=True, random_state=seed)
    for rest, held in splitter.split(vectors, labels):
        model = fit(vectors[rest], labels[rest])
        parts = (held, rest)
        validation, training = (score(metric, labels[part], model.outputs(vectors[part])) for part in parts)
        yield validation, training


def _few_rows_variance(metric: str, labels: Labels) -> float:
    if metric in QUANTITY_METRICS:
        return 0.0
    # A row of a class with n rows moves the mean over the classes by 1 / (classes x n).
    counts = np.unique(labels, return_counts=True)[1]
    moves = 1.0 / (len(counts) * counts)
    return float(2.0 * np.sum(counts / len(labels) * moves**2))


def _quantity_score(metric: str, quantities: Labels, predicted: FloatArray) -> float:
    if metric == "mae":
        return float(mean_absolute_error(quantities, predicted))
    if metric == "rmse":
        return float(root_mean_squared_error(quantities, predicted))
    return float(r2_score(quantities, predicted)) if len(quantities) > 1 else float("nan")


def _area_under_roc(labels: Labels, probabilities: FloatArray, occurring: NDArray[np.int64]) -> float:
    if len(occurring) < 2:
        return float("nan")
    areas = [roc_auc_score(labels == position, probabilities[:, int(position)]) for position in occurring]
    return float(np.mean(areas))
