"""What `make bench-drift` measures is what it says, and its picture can be drawn."""

import numpy as np
import pytest

from scripts.benchmarks.drift import rows
from scripts.benchmarks.drift.picture import draw
from scripts.benchmarks.drift.verdicts import ALONE, verdicts


@pytest.fixture(scope="module")
def scenarios():
    return rows.changing(None)


def test_the_model_has_learnt_none_of_the_rows_before_and_after_a_change(scenarios):
    for scenario in scenarios:
        size = len(scenario.rows.records) // 2
        assert set(scenario.after - size) == set(scenario.before)  # the same rows, altered
        assert len(scenario.before) == size - size // 3


def test_a_shuffled_column_holds_the_same_values(scenarios):
    _, shuffled = scenarios
    before, after = np.split(shuffled.rows.matrix, 2)

    assert np.array_equal(np.sort(before, axis=0), np.sort(after, axis=0))
    assert not np.array_equal(before, after)


def test_the_verdicts_on_a_window_from_elsewhere(scenarios):
    scenario = scenarios[0]
    reference, current = (scenario.rows.take(side[:150]) for side in (scenario.before, scenario.after))

    found = verdicts(reference, current, current.errors, seed=0)

    assert found["any column"] and found["wasserstein"] and found["all columns together"]
    assert not found["the data"] and not found["target"]
    assert all(found[name.removesuffix(ALONE)] <= found[name] for name in found if name.endswith(ALONE))


def test_the_picture_shows_delays_and_what_was_never_seen():
    picture = draw(
        {"a world: a change": {"any column": [25.0, 50.0], "target": [75.0, np.inf], "errors": [np.inf]}}, 500
    )

    assert picture.startswith(b"<?xml")
