"""What the charts of the Models page draw, read from their data."""

from datetime import UTC, datetime

import pytest

from webapp import model_charts
from webapp.learning import Exam, Models
from webapp.tests.fake_api import FakeApi, exam, reign

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def rows(chart):
    """The rows of every layer, one list per data set."""
    return list(chart.to_dict()["datasets"].values())


def test_the_timeline_tells_promotions_from_rollbacks_and_who_serves():
    (bars,) = rows(model_charts.reigns(Models.model_validate(FakeApi().models), NOW))

    told = [(bar["version"], bar["kind"], bar["how"]) for bar in bars]
    assert told == [
        ("v4", "serving", "promoted"),
        ("v2", "rolled back", "rolled back"),
        ("v3", "promoted", "promoted"),
        ("v2", "promoted", "promoted"),
        ("v1", "promoted", "promoted"),
    ]
    assert (bars[1]["reason"], bars[1]["by"]) == ("v3 misses malignant cells", "ada")


def test_a_version_that_came_back_and_serves_is_marked_as_a_rollback_at_its_start():
    api = FakeApi()
    api.take_over("v3", "v4 misses small cells", "grace")

    (bars,) = rows(model_charts.reigns(Models.model_validate(api.models), NOW))

    assert (bars[0]["version"], bars[0]["kind"], bars[0]["start"]) == ("v3", "serving", "rolled back")


def test_a_long_history_shows_its_newest_champions():
    api = FakeApi()
    api.history = [reign(f"v{number}", None, "2026-11-19T00:00:00Z", None) for number in range(30, 0, -1)]

    (bars,) = rows(model_charts.reigns(Models.model_validate(api.models), NOW))

    assert [bar["version"] for bar in bars] == [f"v{number}" for number in range(30, 18, -1)]


@pytest.mark.parametrize(
    ("found", "harm_ends", "win_begins"),
    [({"margin": 0.01}, -0.02, 0.01), ({"margin": 0.01, "strict": True}, 0.01, 0.01)],
)
def test_the_gain_is_drawn_between_tolerated_harm_and_margin_and_strictly_against_the_margin(
    found, harm_ends, win_begins
):
    zones = next(data for data in rows(model_charts.gain(Exam.model_validate(exam(**found)))) if "zone" in data[0])

    assert [(zone["zone"], zone["end" if zone["zone"] == "harm" else "x"]) for zone in zones] == [
        ("harm", harm_ends),
        ("win", win_begins),
    ]


def test_an_interval_that_is_not_known_leaves_the_point_alone():
    chart = model_charts.gain(Exam.model_validate(exam(lower=None, upper=None))).to_dict()

    marks = [layer["mark"]["type"] for layer in chart["layer"]]
    assert "tick" not in marks and "point" in marks


@pytest.mark.parametrize(
    ("metric", "first"), [("balanced_accuracy", "random forest, window"), ("mae", "sgd, fine tune")]
)
def test_the_best_challenger_is_on_top_whichever_way_the_metric_points(metric, first):
    chart = model_charts.challengers(Exam.model_validate(exam(metric=metric)))

    ranked = next(data for data in rows(chart) if "best" in data[0])

    assert ranked[0]["challenger"] == first
