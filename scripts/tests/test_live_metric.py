"""When the answers that were given are too bad, and when it is chance."""

import numpy as np
import pytest

from boucle.live_metric import Limits, complaint

LIMITS = Limits(floor=0.0, ceiling=None, drop=0.05)


def classes(rows, right, seed, share=0.5):
    random = np.random.default_rng(seed)
    true = random.random(rows) < share
    return [(bool(one), bool(one == (random.random() < right))) for one in true]


def numbers(rows, error, seed):
    random = np.random.default_rng(seed)
    return [(float(true), float(true + error * random.normal())) for true in random.random(rows)]


@pytest.mark.parametrize("share", [0.5, 0.12])
def test_answers_as_good_as_ever_are_no_complaint_in_a_hundred_windows(share):
    windows = [
        complaint(classes(1_000, 0.8, seed, share), classes(200, 0.8, -seed - 1 + 10**6, share), LIMITS)
        for seed in range(100)
    ]

    assert [said for said in windows if said] == []


def test_a_fall_is_a_complaint_when_it_is_large_and_not_by_chance():
    history = classes(1_000, 0.9, seed=0)

    assert "balanced accuracy fell from 0.897 to 0.635" in complaint(history, classes(200, 0.6, seed=1), LIMITS)
    assert complaint(history, classes(200, 0.6, seed=1), Limits(0.0, None, drop=0.5)) is None


def test_a_window_that_lacks_a_class_is_compared_on_the_others():
    history = [(True, True), (True, True), (False, False), (False, True)] * 100  # of False, half are right
    window = [(False, False), (False, True)] * 50

    assert complaint(history, window, LIMITS) is None


def test_of_numbers_the_error_counts_relative_to_what_it_was():
    history = numbers(1_000, error=2.0, seed=0)

    assert complaint(history, numbers(200, error=2.0, seed=1), LIMITS) is None
    assert "mean absolute error rose from 1." in complaint(history, numbers(200, error=5.0, seed=1), LIMITS)
    assert "above 1" in complaint([], numbers(200, error=2.0, seed=1), Limits(0.0, 1.0, 0.05))


def test_a_champion_without_history_is_held_to_the_floor_alone():
    window = classes(200, 0.6, seed=0)

    assert complaint([], window, LIMITS) is None
    assert "below the floor 0.8" in complaint([], window, Limits(0.8, None, 0.05))
