"""What moves is found, what does not is left alone, and no column is too odd to be compared."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_wine

from boucle import drift

EFFECT = 0.25
SUSTAINED, WINDOWS = 2, 5


def rows(table):
    return [{f"feature {number}": float(value) for number, value in enumerate(row)} for row in table]


def cancer(size, seed):
    """Rows of 30 strongly correlated and heavily skewed features, drawn with repetition."""
    return np.random.default_rng(seed).choice(load_breast_cancer().data, size)


def normal(columns):
    return lambda size, seed: np.random.default_rng(seed).normal(size=(size, columns))


def drifted(moves):
    return [move.column for move in moves if move.drifted(EFFECT)]


def alarms(windows):
    """In how many places of a sequence of windows the last five would raise an alarm."""
    return sum(
        bool(drift.sustained(windows[max(0, end - WINDOWS) : end], SUSTAINED, EFFECT))
        for end in range(1, len(windows) + 1)
    )


@pytest.mark.parametrize("draw", [cancer, normal(30)], ids=["correlated and skewed", "independent"])
def test_a_hundred_windows_without_drift_of_thirty_features_raise_no_alarm(draw):
    reference = rows(draw(300, seed=10_000))

    windows = [drift.compare(reference, rows(draw(100, seed)), seed=0) for seed in range(100)]

    # One window in a hundred may seem to have moved; twice of five, in the same column, none does.
    assert sum(bool(drifted(window)) for window in windows) <= 5
    assert alarms(windows) == 0


@pytest.mark.parametrize("draw", [cancer, normal(30), normal(3)], ids=["cancer", "30 features", "3 features"])
def test_a_shift_of_half_a_deviation_in_one_feature_is_found_in_windows_of_a_hundred_rows(draw):
    table, shift = draw(300, seed=10_000), np.zeros(draw(1, 0).shape[1])
    shift[0] = 0.5 * table[:, 0].std()

    windows = [drift.compare(rows(table), rows(draw(100, seed) + shift), seed=0) for seed in range(WINDOWS)]

    found = drift.sustained(windows, SUSTAINED, EFFECT)
    assert [move.column for move in found] == ["feature 0"]
    assert found[0].size == pytest.approx(0.5, abs=0.3)


def test_ten_times_the_rows_alone_make_no_drift():
    draw, shift = normal(3), np.array([0.15, 0.0, 0.0])
    reference = rows(draw(2_000, seed=1))

    small, large = (drift.compare(reference, rows(draw(size, seed=2) + shift), seed=0) for size in (200, 2_000))

    assert large[0].p_value < 0.01 < small[0].p_value  # a bare p-value would have found "drift" in the larger sample
    assert drifted(small) == drifted(large) == []


def test_the_size_of_a_move_does_not_depend_on_the_size_of_the_window():
    draw, shift = normal(3), np.array([1.0, 0.0, 0.0])
    reference = rows(draw(1_000, seed=1))

    sizes = [drift.compare(reference, rows(draw(size, seed=2) + shift), seed=0)[0].size for size in (50, 100, 1_000)]

    assert sizes == pytest.approx([1.0, 1.0, 1.0], abs=0.2)


def test_classes_that_come_in_other_shares_are_a_drift():
    wine = load_wine()
    table = [{**row, "cultivar": str(label)} for row, label in zip(rows(wine.data), wine.target, strict=True)]
    random = np.random.default_rng(0)
    usual = [table[position] for position in random.integers(0, len(table), 100)]
    others = [dict(row, cultivar=str(random.choice(["0", "1", "2"], p=[0.8, 0.1, 0.1]))) for row in usual]

    assert drifted(drift.compare(table, usual, seed=0)) == []
    assert drifted(drift.compare(table, others, seed=0)) == ["cultivar"]


def test_of_two_categories_the_size_is_the_shift_in_deviations():
    reference = [{"yes": position % 2 == 0} for position in range(1_000)]
    current = [{"yes": position % 4 != 0} for position in range(1_000)]  # 75 % instead of 50 %, of a deviation of 0.5

    (move,) = drift.compare(reference, current, seed=0)

    assert move.size == pytest.approx(0.5, abs=0.03)
    assert move.drifted(EFFECT)


@pytest.mark.parametrize(
    ("reference", "current", "moved"),
    [
        (["a"] * 100, ["b"] * 100, ["x"]),  # a category that was never seen
        (["a", "b"] * 50, ["a", "b"] * 50, []),
        (["a", None] * 50, ["a", "a"] * 50, ["the share of missing values of x"]),
        ([1.0] * 100, [1.0] * 100, []),  # constant
        ([1.0] * 100, [2.0] * 100, ["x"]),
        ([1.0, 2.0] * 50, [None] * 100, ["the share of missing values of x"]),
        ([None] * 100, [None] * 100, []),
        ([None] * 100, [1.0, 2.0] * 50, ["the share of missing values of x"]),
        ([True, False] * 50, [True] * 100, ["x"]),
        ([0.0, 1.0] * 50, [0.0, 1.0] * 49 + [0.0, 1e6], []),  # one wild value is no drift
        ([1.0], [2.0], []),  # too little to tell
    ],
)
def test_odd_columns_are_compared_too(reference, current, moved):
    moves = drift.compare([{"x": value} for value in reference], [{"x": value} for value in current], seed=0)

    assert [str(move).partition(" moved")[0] for move in moves if move.drifted(EFFECT)] == moved


def test_a_heavy_tail_in_one_column_does_not_hide_the_move_of_another():
    random = np.random.default_rng(0)
    tail = random.standard_cauchy(400)
    reference = [{"tail": tail[number], "x": random.normal()} for number in range(300)]
    current = [{"tail": tail[300 + number], "x": random.normal() + 1} for number in range(100)]

    assert drifted(drift.compare(reference, current, seed=0)) == ["x"]


def test_a_move_says_how_far_it_went_and_only_what_lasts_is_an_alarm():
    moved, calm = drift.Move("mean radius", 0.812, 0.0025), drift.Move("mean radius", 0.1, 0.6)

    assert str(moved) == "mean radius moved by 0.81 standard deviations"
    assert drift.sustained([[moved], [calm], [calm]], 2, EFFECT) == []
    assert drift.sustained([[moved], [calm], [moved]], 2, EFFECT) == [moved]
    assert drift.sustained([[moved], [drift.Move("texture", 0.8, 0.0025)]], 2, EFFECT) == []


def test_one_column_alone_is_its_values_or_its_missing_share():
    values, moved = list(normal(1)(200, 0)[:, 0]), list(normal(1)(100, 1)[:, 0] + 1)

    assert drift.move(values, moved, seed=0).drifted(EFFECT)
    assert not drift.move(values, values[:100], seed=0).drifted(EFFECT)
    assert drift.move(values, [None] * 60 + values[:40], seed=0).missing
    assert drift.move(["yes"] * 100 + ["no"] * 100, ["yes"] * 50, seed=0).size == pytest.approx(
        2**0.5 / 1.5**0.5, abs=0.3
    )
