import numpy as np
import pytest
from sklearn.decomposition import PCA

from boucle.embedding import tabular
from boucle.errors import NotEnoughData
from boucle.models import CLASSIFIERS, FINE_TUNABLE, REGRESSORS, Recipe, fine_tune, fit

RANDOM = np.random.default_rng(0)
VECTORS = RANDOM.normal(size=(300, 4))
CLASSES = (VECTORS[:, 0] + 0.3 * RANDOM.normal(size=300) > 0).astype(int)
QUANTITIES = 500 + 100 * VECTORS[:, 0] + 10 * RANDOM.normal(size=300)


def test_a_window_remembers_the_newest_rows_only():
    kept, weights = Recipe("sgd", {}, 0, "window", memory=30).remembers(100)

    assert kept.tolist() == list(range(70, 100))
    assert weights is None


def test_recency_halves_a_rows_weight_every_half_life():
    kept, weights = Recipe("sgd", {}, 0, "recency", memory=10).remembers(100)

    assert kept.tolist() == list(range(100))
    assert weights[-1] == 1.0
    assert weights[-11] == pytest.approx(0.5)
    assert weights[-21] == pytest.approx(0.25)


def test_a_fit_never_sees_more_rows_than_it_may():
    scratch, _ = Recipe("sgd", {}, 0, "scratch", most_rows=50).remembers(10_000)
    recency, _ = Recipe("sgd", {}, 0, "recency", memory=2_000, most_rows=50).remembers(10_000)

    assert len(scratch) == len(np.unique(scratch)) == 50
    assert scratch.tolist() == sorted(scratch)
    assert scratch[0] < 1_000 < 9_000 < scratch[-1]  # a sample of the whole past
    assert recency.tolist() == list(range(9_950, 10_000))


@pytest.mark.parametrize("strategy", ["scratch", "recency", "window"])
@pytest.mark.parametrize("algorithm", CLASSIFIERS)
def test_every_classifier_learns_with_every_memory(algorithm, strategy):
    model = fit(Recipe(algorithm, {}, 0, strategy, memory=200), VECTORS, CLASSES, n_classes=2)

    assert (model.outputs(VECTORS).argmax(axis=1) == CLASSES).mean() > 0.8


@pytest.mark.parametrize("strategy", ["scratch", "recency", "window"])
@pytest.mark.parametrize("algorithm", REGRESSORS)
def test_every_regressor_learns_with_every_memory_in_the_targets_own_unit(algorithm, strategy):
    model = fit(Recipe(algorithm, {}, 0, strategy, memory=200), VECTORS, QUANTITIES, n_classes=None)

    outputs = model.outputs(VECTORS)

    assert outputs.shape == (300, 1)
    assert np.abs(outputs[:, 0] - QUANTITIES).mean() < 50


@pytest.mark.parametrize("algorithm", FINE_TUNABLE)
def test_fine_tuning_moves_a_copy_towards_the_new_rows(algorithm):
    recipe = Recipe(algorithm, {}, 0)
    model = fit(recipe, VECTORS, CLASSES, n_classes=2)
    before = model.outputs(VECTORS)
    turned = 1 - CLASSES

    tuned = model
    for _ in range(5):
        tuned = fine_tune(tuned, recipe, VECTORS, turned)

    assert np.array_equal(model.outputs(VECTORS), before)
    wrong = (before.argmax(axis=1) == turned).mean()
    assert (tuned.outputs(VECTORS).argmax(axis=1) == turned).mean() > wrong + 0.2


@pytest.mark.parametrize("algorithm", ["random_forest", "sgd", "mlp"])
def test_fine_tuning_learns_a_quantity_too(algorithm):
    recipe = Recipe(algorithm, {}, 0)
    model = fit(recipe, VECTORS, QUANTITIES, n_classes=None)
    moved = QUANTITIES + 200

    tuned = model
    for _ in range(5):
        tuned = fine_tune(tuned, recipe, VECTORS, moved)

    errors = [np.abs(one.outputs(VECTORS)[:, 0] - moved).mean() for one in (model, tuned)]
    assert errors[1] < 0.5 * errors[0]


def test_fine_tuning_keeps_a_forests_size():
    recipe = Recipe("random_forest", {"n_estimators": 20}, 0)
    model = fit(recipe, VECTORS, CLASSES, n_classes=2)

    assert len(fine_tune(model, recipe, VECTORS, CLASSES).estimator.estimators_) == 20


def test_fine_tuning_refuses_rows_that_lack_a_class():
    model = fit(Recipe("sgd", {}, 0), VECTORS, CLASSES, n_classes=2)

    with pytest.raises(NotEnoughData, match="exactly the classes"):
        fine_tune(model, Recipe("sgd", {}, 0), VECTORS, np.zeros(300, dtype=int))


@pytest.mark.parametrize("algorithm", ["logistic_regression", "sgd", "mlp"])
def test_a_direction_that_held_only_rounding_errors_decides_about_nobody(algorithm):
    noise = np.column_stack([VECTORS, 1e-16 * RANDOM.normal(size=300)])
    model = fit(Recipe(algorithm, {}, 0), noise, CLASSES, n_classes=2)

    unseen = np.column_stack([VECTORS, np.full(300, -0.5)])

    agree = model.outputs(unseen).argmax(axis=1) == model.outputs(noise).argmax(axis=1)
    assert agree.mean() > 0.9


@pytest.mark.parametrize("algorithm", ["random_forest", "hist_gradient_boosting"])
def test_trees_learn_from_the_columns_behind_a_rotation_and_not_from_the_rotation(algorithm):
    columns = RANDOM.normal(size=(600, 6))
    steps = (columns[:, 0] > 0).astype(int) ^ (columns[:, 1] > 0).astype(int)
    projector = PCA(6).fit(columns)
    vectors = projector.transform(columns)

    plain, back = (
        fit(Recipe(algorithm, {}, 0, columns=way), vectors[:400], steps[:400], n_classes=2)
        for way in (None, tabular.inverse(projector))
    )

    right = [(one.outputs(vectors[400:]).argmax(axis=1) == steps[400:]).mean() for one in (plain, back)]
    assert right[1] > 0.9
    assert right[1] > right[0] + 0.1
    tuned = fine_tune(back, Recipe(algorithm, {}, 0), vectors, steps) if algorithm in FINE_TUNABLE else back
    assert (tuned.outputs(vectors[400:]).argmax(axis=1) == steps[400:]).mean() > 0.9
