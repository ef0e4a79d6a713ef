import math

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from boucle.errors import NotEnoughData
from boucle.evaluation import cross_validated, forward_chained, score
from boucle.models import Model, Recipe, fit

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, 3, 200)
PROBABILITIES = RANDOM.dirichlet(np.ones(3), 200)


def test_scores_equal_those_of_scikit_learn():
    predicted = PROBABILITIES.argmax(axis=1)

    assert score("balanced_accuracy", LABELS, PROBABILITIES) == balanced_accuracy_score(LABELS, predicted)
    assert score("f1", LABELS, PROBABILITIES) == f1_score(LABELS, predicted, average="macro")


def test_a_window_of_one_class_has_a_recall_and_no_roc_curve():
    labels = np.zeros(5, dtype=int)

    assert score("balanced_accuracy", labels, np.tile([0.9, 0.1], (5, 1))) == 1.0
    assert math.isnan(score("roc_auc", labels, np.tile([0.9, 0.1], (5, 1))))


def test_no_rows_are_no_score():
    with pytest.raises(NotEnoughData):
        score("accuracy", np.empty(0, dtype=int), np.empty((0, 2)))


def test_a_class_rarer_than_the_folds_is_named():
    labels = np.array([0] * 20 + [1] * 2)

    with pytest.raises(NotEnoughData, match="the rarest class has only 2"):
        list(cross_validated(lambda *_: None, "accuracy", np.zeros((22, 1)), labels, folds=5, seed=0))


def test_each_exam_fold_is_predicted_by_a_model_that_saw_only_what_came_before():
    seen = []

    class Counting(Model):
        def probabilities(self, vectors):
            return np.zeros((len(vectors), 2))

    def fit_and_remember(vectors, labels):
        seen.append((len(labels), vectors[-1, 0]))
        return Counting(None, 2)

    past = np.arange(100.0)[:, None], np.zeros(100, dtype=int)
    exam = np.arange(100.0, 120.0)[:, None], np.ones(20, dtype=int)

    answers = forward_chained(fit_and_remember, past, exam, folds=4)

    assert seen == [(100, 99.0), (105, 104.0), (110, 109.0), (115, 114.0)]
    assert answers.shape == (20, 2)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_fewer_exam_rows_than_folds_are_one_fold_each(rows):
    recipe = Recipe("logistic_regression", {}, seed=0)
    past = RANDOM.normal(size=(20, 2)), np.arange(20) % 2
    exam = RANDOM.normal(size=(rows, 2)), np.zeros(rows, dtype=int)

    answers = forward_chained(lambda x, y: fit(recipe, x, y, 2), past, exam, folds=5)

    assert answers.shape == (rows, 2)


@pytest.mark.parametrize("algorithm", ["logistic_regression", "random_forest", "hist_gradient_boosting", "sgd", "mlp"])
def test_every_algorithm_gives_a_class_it_never_saw_probability_zero(algorithm):
    vectors, labels = RANDOM.normal(size=(60, 3)), np.arange(60) % 2 * 2  # classes 0 and 2 of 3

    probabilities = fit(Recipe(algorithm, {}, seed=0), vectors, labels, n_classes=3).probabilities(vectors)

    assert probabilities.shape == (60, 3)
    assert np.all(probabilities[:, 1] == 0)
    assert np.allclose(probabilities.sum(axis=1), 1)
