"""A change of the errors is found and placed; errors that only scatter are left alone."""

import numpy as np
import pytest

from boucle import drift
from boucle.drift.concept import Change, change


def errors(*rates_and_rows, seed=0):
    random = np.random.default_rng(seed)
    return np.concatenate([random.random(rows) < rate for rate, rows in rates_and_rows]).tolist()


def test_errors_that_became_more_frequent_are_a_change_at_its_place():
    found = change(errors((0.1, 300), (0.5, 200)))

    assert found.changed
    assert found.position == pytest.approx(300, abs=15)
    assert (found.before, found.after) == pytest.approx((0.1, 0.5), abs=0.08)


def test_errors_that_became_rarer_are_a_change_too():
    found = change(errors((0.5, 300), (0.1, 200)))

    assert found.changed
    assert found.after < found.before


def test_the_errors_of_a_quantity_may_have_any_unit():
    random = np.random.default_rng(0)
    misses = np.abs(np.concatenate([random.normal(size=300), random.normal(scale=3, size=200)]))

    small, large = change((misses * 1e-6).tolist()), change((misses * 1e6).tolist())

    assert small.changed
    assert small.position == large.position == pytest.approx(300, abs=15)
    assert large.before == pytest.approx(np.mean(misses[: small.position]) * 1e6)
    assert small.after == pytest.approx(np.mean(misses[small.position :]) * 1e-6)


@pytest.mark.parametrize("few", [[], [0.0], [1.0], [0.0] * 500, [1.0] * 500, [0.0, 1.0] * 250, [0.1] * 5 + [0.9] * 4])
def test_too_few_or_steady_errors_are_no_change(few):
    assert change(few) == Change(changed=False)


def test_one_wild_error_is_no_change():
    random = np.random.default_rng(0)
    misses = np.abs(random.normal(size=500))
    misses[400] = 1e9

    assert not change(misses.tolist()).changed


def test_of_windows_without_a_change_hardly_any_seems_to_have_one():
    changed = [change(errors((0.3, 500), seed=seed)).changed for seed in range(300)]

    assert sum(changed) <= 300 * drift.LEVEL + 3


def test_a_rare_error_rate_that_triples_is_mostly_found():
    changed = [change(errors((0.1, 250), (0.3, 250), seed=seed)).changed for seed in range(100)]

    assert sum(changed) >= 90
