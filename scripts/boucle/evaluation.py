"""How good predictions are, on rows that the model has not seen."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold

from boucle.arrays import FloatArray, IndexArray
from boucle.errors import NotEnoughData
from boucle.models import Model

Fit = Callable[[FloatArray, IndexArray], Model]


def score(metric: str, labels: IndexArray, probabilities: FloatArray) -> float:
    """The metric of ``probabilities`` (n_rows, n_classes) against ``labels`` (n_rows,); 1 is perfect.

    Precision, recall and F1 are the unweighted mean over the classes that occur. Balanced accuracy is that mean of the
    recalls (Brodersen et al., 2010). The area under the ROC curve is one against rest, averaged the same way, and NaN
    when only one class occurs.

    Raises:
        NotEnoughData: when there is no row.
    """
    if not len(labels):
        raise NotEnoughData("there is no row to evaluate on")
    predicted = probabilities.argmax(axis=1)
    occurring = np.unique(labels)
    average = {"labels": occurring, "average": "macro", "zero_division": 0.0}
    if metric == "accuracy":
        return float(accuracy_score(labels, predicted))
    if metric == "precision":
        return float(precision_score(labels, predicted, **average))
    if metric == "f1":
        return float(f1_score(labels, predicted, **average))
    if metric == "roc_auc":
        return _area_under_roc(labels, probabilities, occurring)
    return float(recall_score(labels, predicted, **average))  # recall and balanced accuracy are one


def all_scores(labels: IndexArray, probabilities: FloatArray) -> dict[str, float]:
    """Every metric by name."""
    names = ("balanced_accuracy", "accuracy", "f1", "precision", "recall", "roc_auc")
    return {name: score(name, labels, probabilities) for name in names}


def cross_validated(
    fit: Fit, metric: str, vectors: FloatArray, labels: IndexArray, folds: int, seed: int
) -> Iterator[float]:
    """The metric on each of ``folds`` stratified parts, predicted by a model fitted on the others; one at a time.

    Raises:
        NotEnoughData: when a class has fewer rows than there are folds.
    """
    rarest = int(np.bincount(labels)[np.unique(labels)].min())
    if rarest < folds:
        raise NotEnoughData(f"training.folds = {folds}: the rarest class has only {rarest} reference rows")
    for rest, held in StratifiedKFold(folds, shuffle=True, random_state=seed).split(vectors, labels):
        yield score(metric, labels[held], fit(vectors[rest], labels[rest]).probabilities(vectors[held]))


def forward_chained(
    fit: Fit, past: tuple[FloatArray, IndexArray], exam: tuple[FloatArray, IndexArray], folds: int
) -> FloatArray:
    """Probabilities for the exam rows, shape (n_exam, n_classes), each fold's by a model fitted on what came before it.

    The exam rows are in time order and cut into contiguous folds; a fold whose model saw later rows would flatter
    whatever forgets fast. Source: Dawid (1984), the prequential approach, JRSS A 147(2).
    """
    vectors, labels = (np.concatenate(pair) for pair in zip(past, exam, strict=True))
    start = len(past[1])
    bounds = np.unique(np.linspace(start, len(labels), min(folds, len(labels) - start) + 1).astype(int))
    answers = [
        fit(vectors[:begin], labels[:begin]).probabilities(vectors[begin:end]) for begin, end in pairwise(bounds)
    ]
    return np.concatenate(answers)


def _area_under_roc(labels: IndexArray, probabilities: FloatArray, occurring: NDArray[np.int64]) -> float:
    if len(occurring) < 2:
        return float("nan")
    areas = [roc_auc_score(labels == position, probabilities[:, position]) for position in occurring]
    return float(np.mean(areas))
