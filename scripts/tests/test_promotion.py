import math

from boucle.promotion import decide


def test_a_better_challenger_is_promoted():
    decision = decide(champion=0.80, challenger=0.85, metric="f1", rows=50, margin=0.0)

    assert decision.promote
    assert decision.verdict == "promoted"
    assert decision.reason == "f1 on 50 exam rows: challenger 0.8500, champion 0.8000; the challenger won"


def test_an_equal_challenger_leaves_the_champion_in_place():
    assert not decide(champion=0.8, challenger=0.8, metric="f1", rows=50, margin=0.0).promote


def test_a_gain_below_the_margin_leaves_the_champion_in_place():
    decision = decide(champion=0.80, challenger=0.81, metric="f1", rows=50, margin=0.02)

    assert decision.verdict == "rejected"
    assert "did not win by more than 0.02" in decision.reason


def test_an_undefined_score_promotes_nobody():
    assert not decide(champion=math.nan, challenger=0.9, metric="roc_auc", rows=3, margin=0.0).promote
    assert not decide(champion=0.9, challenger=math.nan, metric="roc_auc", rows=3, margin=0.0).promote
