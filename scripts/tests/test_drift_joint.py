"""All columns at once: what no single column shows is seen, and chance is told from it."""

import warnings

import numpy as np
import pytest

from boucle import drift
from boucle.drift.concept import change
from boucle.drift.joint import separation


@pytest.fixture(autouse=True)
def no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def records(table):
    return [{str(number): float(value) for number, value in enumerate(row)} for row in table]


def test_a_lost_correlation_is_seen_where_every_column_is_as_it_was():
    random = np.random.default_rng(0)
    draw = lambda rows: random.multivariate_normal([0, 0, 0], [[1, 0.8, 0], [0.8, 1, 0], [0, 0, 1]], rows)  # noqa: E731
    reference, current = draw(1_000), draw(200)
    lost = current.copy()
    lost[:, 0] = random.permutation(lost[:, 0])

    assert not any(move.drifted(0.25) for move in drift.compare(records(reference), records(lost), seed=0))
    assert separation(reference, lost, seed=0).drifted
    assert not separation(reference, current, seed=0).drifted


def test_one_category_for_another_and_gaps_are_seen():
    random = np.random.default_rng(0)
    reference, current = random.integers(0, 4, (500, 2)).astype(float), random.integers(0, 4, (200, 2)).astype(float)
    others, gaps = current.copy(), random.normal(size=(200, 2))
    others[others[:, 0] == 1, 0] = 2
    gaps[::3, 0] = np.nan

    assert not separation(reference, current, seed=0).drifted
    assert separation(reference, others, seed=0).drifted
    assert separation(random.normal(size=(500, 2)), gaps, seed=0).drifted


def test_the_unit_of_a_column_does_not_matter_nor_one_wild_value():
    random = np.random.default_rng(0)
    reference, current = random.normal(size=(300, 3)), random.normal(0.4, size=(100, 3))
    units = np.array([1.0, 1e-9, 1e9])

    found = separation(reference, current, seed=0)
    wild = current.copy()
    wild[current[:, 0].argmax(), 0] = 1e300

    assert separation(reference * units, current * units, seed=0) == found
    assert separation(reference, wild, seed=0).auc == pytest.approx(found.auc, abs=0.01)


def test_the_same_seed_gives_the_same_answer():
    random = np.random.default_rng(0)
    reference, current = random.normal(size=(100, 2)), random.normal(size=(50, 2))

    assert separation(reference, current, seed=1) == separation(reference, current, seed=1)


def test_more_columns_than_rows_are_compared_too():
    random = np.random.default_rng(0)
    reference, current = random.normal(size=(60, 100)), random.normal(size=(20, 100))

    assert separation(reference, current + 1, seed=0).drifted
    assert not separation(reference, current, seed=0).drifted


@pytest.mark.parametrize(
    ("reference", "current", "auc"),
    [
        (np.zeros((4, 2)), np.ones((100, 2)), 0.5),  # too little to tell
        (np.zeros((0, 2)), np.ones((100, 2)), 0.5),
        (np.zeros((50, 2)), np.zeros((50, 2)), 0.5),
        (np.zeros((50, 0)), np.zeros((50, 0)), 0.5),
        (np.full((50, 1), np.nan), np.full((50, 1), np.nan), 0.5),
        (np.full((50, 1), np.nan), np.zeros((50, 1)), 1.0),
        (np.zeros((50, 1)), np.ones((50, 1)), 1.0),
    ],
)
def test_odd_tables_are_compared_too(reference, current, auc):
    found = separation(reference, current, seed=0)

    assert found.auc == pytest.approx(auc)
    assert found.drifted == (auc == 1.0)


def test_of_one_column_of_two_values_the_area_is_half_the_distance_of_their_shares_above_a_coin():
    reference, current = ([[0.0]] * 3 + [[1.0]]) * 50, ([[0.0]] + [[1.0]] * 3) * 50

    assert separation(np.array(reference), np.array(current), seed=0).auc == pytest.approx(0.75)


def test_the_whole_verdict_raises_no_more_false_alarms_than_its_level():
    alarms = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        table, errors = random.normal(size=(150, 3)), random.random(150) < 0.3
        reference, current = table[:100], table[100:]
        alarms += (
            any(move.drifted(0.25) for move in drift.compare(records(reference), records(current), seed))
            or separation(reference, current, seed).drifted
            or change(errors.tolist()).changed
        )

    # Three looks at 1 % each at 60 windows: 1.8 expected at most; more than 6 come by chance in 1 of 300 cases.
    assert alarms <= 6


def test_p_values_are_as_often_small_as_they_say():
    p_values = [
        separation(table[:60], table[60:], seed).p_value
        for seed in range(100)
        for table in [np.random.default_rng(seed).standard_cauchy((80, 2))]
    ]

    # Binomial: 10 and 25 expected, with deviations of 3 and 4.3.
    assert 2 <= sum(p_value <= 0.1 for p_value in p_values) <= 19
    assert 13 <= sum(p_value <= 0.25 for p_value in p_values) <= 38
