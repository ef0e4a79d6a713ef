"""The customary numbers are SciPy's, and no column is too odd for them."""

import warnings

import numpy as np
import pytest
from scipy import stats

from boucle import drift
from boucle.drift.statistics import THRESHOLDS, exceeded, statistics

NUMBERS = {"psi", "jensen_shannon", "kolmogorov_smirnov", "wasserstein"}
CATEGORIES = {"chi_square", "jensen_shannon"}


@pytest.fixture(autouse=True)
def no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_the_statistics_of_a_number_are_those_of_scipy_and_of_the_formula():
    random = np.random.default_rng(0)
    reference, current = random.gamma(2, 3, 2_000), random.gamma(2.5, 3, 500)

    found = statistics(reference.tolist(), current.tolist())

    edges = np.quantile(reference, np.linspace(0, 1, 11))
    edges[[0, -1]] = -np.inf, np.inf
    expected, actual = (np.histogram(side, edges)[0] / len(side) for side in (reference, current))
    mean = (expected + actual) / 2
    divergence = (stats.entropy(expected, mean, base=2) + stats.entropy(actual, mean, base=2)) / 2
    assert found.keys() == NUMBERS
    assert found["psi"] == pytest.approx(((actual - expected) * np.log(actual / expected)).sum())
    assert found["jensen_shannon"] == pytest.approx(np.sqrt(divergence))
    assert found["kolmogorov_smirnov"] == pytest.approx(stats.ks_2samp(reference, current).statistic)
    assert found["wasserstein"] == pytest.approx(stats.wasserstein_distance(reference, current) / reference.std())


def test_the_statistics_of_categories_by_hand():
    # Shares of 3/4 and 1/4 beside 1/4 and 3/4: a table of chi-square / n = 1/4.
    found = statistics(["a", "a", "a", "b"], ["a", "b", "b", "b"])

    assert found.keys() == CATEGORIES
    assert found["chi_square"] == pytest.approx(0.5)
    assert found["jensen_shannon"] == pytest.approx(np.sqrt(0.1887219), abs=1e-6)


def test_cramers_v_is_that_of_scipy_when_the_sides_are_equally_large_and_does_not_change_with_their_sizes():
    table = np.array([[30, 50, 20], [50, 30, 20]])
    reference, current = (np.repeat(["a", "b", "c"], counts).tolist() for counts in table)

    found = statistics(reference, current)["chi_square"]

    assert found == pytest.approx(stats.contingency.association(table))
    assert statistics(reference * 20, current)["chi_square"] == pytest.approx(found)


@pytest.mark.parametrize(
    ("reference", "current", "expected"),
    [
        ([], [1.0], {}),
        ([1.0], [], {}),
        ([], [], {}),
        ([1.0], [1.0], dict.fromkeys(NUMBERS, 0.0)),
        ([1.0] * 50, [1.0] * 9, dict.fromkeys(NUMBERS, 0.0)),
        (["a"], ["a", "a"], dict.fromkeys(CATEGORIES, 0.0)),
        (["a"] * 4, ["new"] * 3, dict.fromkeys(CATEGORIES, 1.0)),
        ([True, False], [True, False], dict.fromkeys(CATEGORIES, 0.0)),
        ([1.0, 2.0], ["1.0", "2.0"], dict.fromkeys(CATEGORIES, 0.0)),
    ],
)
def test_odd_columns_have_statistics_too(reference, current, expected):
    assert statistics(reference, current) == pytest.approx(expected)


@pytest.mark.parametrize(("before", "after"), [(1.0, 0.0), (0.0, 1.0)])
def test_a_constant_that_changes_is_as_far_as_can_be_in_either_direction(before, after):
    found = statistics([before] * 100, [after] * 100)

    assert (found["jensen_shannon"], found["kolmogorov_smirnov"]) == (1.0, 1.0)
    assert found["psi"] > THRESHOLDS["psi"]
    assert found["wasserstein"] == pytest.approx(2.0)


def test_every_statistic_has_a_threshold():
    assert THRESHOLDS.keys() == NUMBERS | CATEGORIES


def test_a_statistic_past_its_convention_is_no_drift_when_it_is_by_chance():
    random = np.random.default_rng(0)
    reference, small, moved = random.normal(size=500), random.normal(size=50), random.normal(1, size=50)

    by_chance, far = (statistics(reference.tolist(), side.tolist()) for side in (small, moved))

    assert max(by_chance[name] - THRESHOLDS[name] for name in NUMBERS) > 0
    assert exceeded(by_chance, drift.move(reference.tolist(), small.tolist(), seed=0)) == []
    assert set(exceeded(far, drift.move(reference.tolist(), moved.tolist(), seed=0))) == NUMBERS
