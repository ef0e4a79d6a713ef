import math

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from boucle.errors import NotEnoughData
from boucle.evaluation import compare, cross_validated, gain, score
from boucle.models import Recipe, fit

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


@pytest.mark.parametrize("algorithm", ["logistic_regression", "random_forest", "hist_gradient_boosting", "sgd", "mlp"])
def test_every_algorithm_gives_a_class_it_never_saw_probability_zero(algorithm):
    vectors, labels = RANDOM.normal(size=(60, 3)), np.arange(60) % 2 * 2  # classes 0 and 2 of 3

    probabilities = fit(Recipe(algorithm, {}, seed=0), vectors, labels, n_classes=3).outputs(vectors)

    assert probabilities.shape == (60, 3)
    assert np.all(probabilities[:, 1] == 0)
    assert np.allclose(probabilities.sum(axis=1), 1)


def test_errors_are_compared_as_the_share_of_the_champions_that_is_saved():
    assert gain("mae", 10.0, 8.0) == pytest.approx(0.2)
    assert gain("rmse", 10.0, 12.0) == pytest.approx(-0.2)
    assert gain("mae", 0.0, 0.0) == 0.0
    assert gain("r2", 0.5, 0.6) == pytest.approx(0.1)


def test_the_standard_error_of_independent_rows_is_that_of_the_paired_difference():
    labels = np.arange(2000) % 2
    champion = np.eye(2)[np.where(RANDOM.random(2000) < 0.8, labels, 1 - labels)]
    challenger = np.eye(2)[np.where(RANDOM.random(2000) < 0.8, labels, 1 - labels)]

    compared = compare("accuracy", labels, champion, challenger)

    right = (challenger.argmax(axis=1) == labels) * 1.0 - (champion.argmax(axis=1) == labels)
    assert compared.difference == pytest.approx(right.mean())
    assert compared.standard_error == pytest.approx(right.std() / math.sqrt(2000), rel=0.5)


def test_neighbours_that_err_together_widen_the_standard_error():
    labels = np.arange(2000) % 2
    champion = np.eye(2)[labels]
    scattered, together = champion.copy(), champion.copy()
    scattered[RANDOM.choice(2000, 200, replace=False)] = [0.5, 0.4]
    together[500:700] = [0.5, 0.4]

    errors = [compare("accuracy", labels, champion, answers).standard_error for answers in (scattered, together)]

    assert errors[1] > 3 * errors[0]


def test_one_row_won_and_none_lost_proves_little():
    labels = np.arange(50) % 2
    challenger = np.eye(2)[labels]
    champion = challenger.copy()
    champion[25] = champion[25][::-1]

    assert compare("accuracy", labels, champion, challenger).standard_error > 0.02


@pytest.mark.parametrize(
    ("labels", "reason"), [(np.arange(9) % 2, "9 exam rows are too few"), (np.zeros(50, dtype=int), "are of one class")]
)
def test_what_cannot_be_compared_says_why(labels, reason):
    answers = np.tile([0.9, 0.1], (len(labels), 1))

    with pytest.raises(NotEnoughData, match=reason):
        compare("accuracy", labels, answers, answers)
