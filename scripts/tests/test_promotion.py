import math

import numpy as np
import pytest

from boucle.config import PromotionSection
from boucle.evaluation import Comparison, compare
from boucle.promotion import decide

DEFAULT, STRICT = PromotionSection(), PromotionSection(strict=True)


def compared(difference, standard_error, champion=0.8):
    return Comparison("f1", 200, champion, champion + difference, difference, standard_error, 20)


def test_a_challenger_that_won_and_can_do_little_harm_is_promoted():
    decision = decide(compared(0.05, 0.01), DEFAULT)

    assert decision.promote
    assert decision.lower == pytest.approx(0.05 - 1.729 * 0.01, abs=1e-4)
    assert decision.reason == (
        "f1 on 200 exam rows: challenger 0.8500, champion 0.8000; the gain +0.0500 is at least +0.0327: "
        "the challenger won"
    )


def test_a_challenger_that_lost_is_rejected_whatever_the_tolerance():
    decision = decide(compared(-0.001, 0.0001), DEFAULT)

    assert decision.verdict == "rejected"
    assert "the challenger lost" in decision.reason


def test_a_gain_below_the_margin_is_rejected():
    decision = decide(compared(0.01, 0.001), PromotionSection(margin=0.02))

    assert decision.verdict == "rejected"
    assert "did not win by 0.02" in decision.reason


def test_a_gain_that_few_rows_show_is_insufficient_evidence():  # T7
    decision = decide(compared(0.05, 0.1), DEFAULT)

    assert decision.verdict == "insufficient evidence"
    assert "more rows will tell" in decision.reason


def test_equal_within_noise_is_insufficient_evidence():  # T7
    assert decide(compared(0.0, 0.02), DEFAULT).verdict == "insufficient evidence"
    assert decide(compared(0.001, 0.02), DEFAULT).verdict == "insufficient evidence"


def test_strict_asks_for_more_than_the_tolerance_and_more_at_every_look():
    gain = compared(0.03, 0.01)

    assert decide(gain, DEFAULT).promote
    assert decide(gain, STRICT, look=1).promote
    assert decide(gain, STRICT, look=4).verdict == "insufficient evidence"


def test_an_undefined_score_promotes_nobody():
    assert decide(compared(math.nan, 0.1), DEFAULT).verdict == "insufficient evidence"
    assert decide(compared(0.1, math.inf), DEFAULT).verdict == "insufficient evidence"


class World:
    """Two models that are right on the same rows but for a few: ``wins`` the challenger, ``losses`` the champion."""

    def __init__(self, seed, positives=0.5):
        self.random, self.positives = np.random.default_rng(seed), positives
        self.labels = np.empty(0, dtype=int)
        self.champion, self.challenger = np.empty((0, 2)), np.empty((0, 2))

    def draw(self, rows, wins, losses):
        labels = (self.random.random(rows) < self.positives).astype(int)
        chance = self.random.random(rows)
        self.labels = np.concatenate([self.labels, labels])
        self.champion = np.concatenate([self.champion, self._answers(labels, chance >= wins)])
        self.challenger = np.concatenate([self.challenger, self._answers(labels, chance < 1 - losses)])
        return self

    def verdict(self, metric, rule, look=1):
        return decide(compare(metric, self.labels, self.champion, self.challenger), rule, look).verdict

    @staticmethod
    def _answers(labels, right):
        return np.eye(2)[np.where(right, labels, 1 - labels)]


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy"])
@pytest.mark.parametrize("rows", [50, 200])
@pytest.mark.parametrize("wins", [0.02, 0.1])
def test_a_challenger_worse_than_the_tolerance_is_promoted_in_one_look_of_twenty_at_most(metric, rows, wins):
    worlds = 200
    promoted = sum(
        World(seed).draw(rows, wins, wins + DEFAULT.tolerance).verdict(metric, DEFAULT) == "promoted"
        for seed in range(worlds)
    )

    # Two standard errors of the simulation above the promised 5 %.
    assert promoted / worlds <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / worlds)


def test_strict_promotes_wrongly_at_the_level_at_most_over_twenty_looks_at_equal_models():
    worlds, level = 150, STRICT.level

    def promotes_ever(seed):
        world = World(seed)
        return any(
            world.draw(50, 0.08, 0.08).verdict("balanced_accuracy", STRICT, look) == "promoted" for look in range(1, 21)
        )

    wrong = sum(promotes_ever(seed) for seed in range(worlds))

    assert wrong / worlds <= level + 2 * math.sqrt(level * (1 - level) / worlds)


def test_a_real_gain_is_found_with_about_as_many_labels_as_theory_predicts():
    wins, losses, looked = 0.12, 0.04, 25
    # The bound is above -tolerance on average once (quantile x standard error) is below (gain + tolerance).
    gain, deviation = wins - losses, math.sqrt(wins + losses - (wins - losses) ** 2)
    predicted = (1.73 * deviation / (gain + DEFAULT.tolerance)) ** 2

    def labels_needed(seed):
        world = World(seed)
        while world.draw(looked, wins, losses).verdict("accuracy", DEFAULT) != "promoted":
            pass
        return len(world.labels)

    needed = float(np.median([labels_needed(seed) for seed in range(40)]))

    assert 0.5 * predicted <= needed <= 2 * predicted + looked
