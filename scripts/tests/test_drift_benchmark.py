"""What `make bench-drift` measures is what it says, and its picture can be drawn."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer

from scripts.benchmarks.drift import rows
from scripts.benchmarks.drift.picture import draw
from scripts.benchmarks.drift.verdicts import ALONE, verdicts


@pytest.fixture(scope="module")
def scenarios():
    return list(rows.changing(None))


def test_a_shuffled_column_holds_the_same_values_and_none_that_the_model_has_learnt(scenarios):
    for scenario, shuffled in zip(scenarios, (False, True), strict=True):
        before, after = (scenario.rows.matrix[np.sort(side)] for side in (scenario.before, scenario.after))
        assert len(before) == len(after) < len(load_breast_cancer().data)
        assert np.array_equal(np.sort(before, axis=0), np.sort(after, axis=0)) == shuffled
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
