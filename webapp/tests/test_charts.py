"""What the charts draw, from the data that they hold."""

from datetime import timedelta

import pytest

from webapp import charts
from webapp.answers import Contribution


def drawn(*amounts: float):
    found = [Contribution(column=f"c{number}", value=1.5, contribution=amount) for number, amount in enumerate(amounts)]
    chart = charts.contributions(found, "{:+.1f}".format)
    return chart.layer[0].data


def test_contributions_keep_their_order_and_are_coloured_by_their_sign():
    table = drawn(3.0, -2.0, 1.0)

    assert list(table["column"]) == ["c0 = 1.5", "c1 = 1.5", "c2 = 1.5"]
    assert list(table["kind"]) == ["for", "against", "for"]
    assert list(table["text"]) == ["+3.0", "-2.0", "+1.0"]


def test_beyond_the_tenth_they_are_one_bar_so_that_all_bars_add_up():
    table = drawn(*[5.0] * 10, 2.0, -0.5)

    assert len(table) == 11
    assert (table["column"].iloc[-1], table["adds"].iloc[-1], table["kind"].iloc[-1]) == (
        "2 other columns",
        1.5,
        "rest",
    )
    assert table["adds"].sum() == 51.5


def test_a_missing_value_is_named_so():
    chart = charts.contributions([Contribution(column="age", value=None, contribution=0.0)], str)

    assert list(chart.layer[0].data["column"]) == ["age = missing"]


@pytest.mark.parametrize(
    ("span", "style"),
    [
        (timedelta(minutes=3), "%H:%M:%S"),
        (timedelta(hours=3), "%H:%M"),
        (timedelta(days=1), "%d %b %H:%M"),
        (timedelta(weeks=3), "%d %b"),
        (timedelta(days=900), "%d %b %Y"),
    ],
)
def test_an_axis_of_time_is_as_exact_as_it_is_short(span, style):
    assert charts.time_style(span) == style
