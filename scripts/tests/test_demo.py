import pytest

from boucle.contract import Classes, Quantity
from boucle.demo import Round, outcome

CLASSES = Classes(name="churn", classes=("no", "yes"))
QUANTITY = Quantity(name="count", integer=True, minimum=0, maximum=900, median=180)


def test_a_round_of_classes_tells_the_share_of_right_predictions():
    answers = [{"prediction": "no"}, {"prediction": "yes"}, {"prediction": "no"}, {"prediction": "no"}]

    assert Round(answers, ["no", "yes", "yes", "no"]).quality(CLASSES) == "75% right"


def test_a_round_of_quantities_tells_how_far_off_the_predictions_were():
    answers = [{"prediction": 110.5}, {"prediction": 180.0}]

    assert Round(answers, [100.0, 200.0]).quality(QUANTITY) == "off by 15.25 on average"


@pytest.mark.parametrize(
    ("state", "verdict", "told"),
    [
        ("finished", "promoted", "training run 3: promoted v4 (why)"),
        ("finished", "insufficient evidence", "training run 3: insufficient evidence (why)"),
        ("failed", None, "training run 3: failed (why)"),
    ],
)
def test_only_a_promoted_challenger_is_called_promoted(state, verdict, told):
    run = {"id": 3, "state": state, "verdict": verdict, "version": "v4", "reason": "why"}

    assert outcome(run) == told
