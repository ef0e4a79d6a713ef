"""The Monitoring page over real HTTP: what it says of a calm model, of a sick one, and of what is not known yet."""

from collections.abc import Iterator
from datetime import timedelta

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from webapp import monitoring_charts
from webapp.production import Monitoring
from webapp.settings import Settings
from webapp.tests.fake_api import FakeApi, drawn, served
from webapp.tests.fake_production import EXPECTED, NUMBERS, monitoring, moved, nothing_labelled, observation
from webapp.tests.test_latency import exposition
from webapp.vitals import duration


@pytest.fixture
def api() -> FakeApi:
    api = FakeApi()
    api.monitoring = monitoring(observation())
    api.metrics = exposition([0.0005] * 150)
    return api


@pytest.fixture
def page(api: FakeApi) -> Iterator[AppTest]:
    """The page, not yet run: a test first says what the API answers."""
    with served(api) as url:
        yield drawn("monitoring", url)


def opened(page: AppTest) -> AppTest:
    page.run()
    assert not page.exception
    return page


def said(page: AppTest) -> str:
    """All the page's texts, without the backslashes that keep data from being Markdown."""
    elements = [*page.markdown, *page.caption, *page.info, *page.warning, *page.error, *page.subheader]
    return "\n".join(element.value for element in elements).replace("\\", "")


def test_a_calm_model_is_told_in_five_green_tiles(api, page):
    calm = {"estimated_accuracy": 0.955, "quality": EXPECTED}
    api.monitoring = monitoring(observation((("radius", 0.02), ("texture", 0.04)), **calm))

    text = said(opened(page))

    assert "### 0.951" in text
    assert "expected 0.951; newest 420 labels" in text
    assert "### 84%" in text
    assert "half within 3.1 s, 95% within 1.6 min" in text
    assert "### 0.5 / 0.99 ms" in text
    assert "150 requests since start" in text
    assert "0 of 2 columns; too many from 30% on" in text
    words = ("as expected", "calm", "coming", "fast")
    assert all(f":green-badge[:material/check_circle: {word}]" in text for word in words)
    assert "Worse than expected" not in text


def test_a_sick_model_is_told_with_the_reason(api, page):
    complaint = "balanced accuracy fell from 0.951 to 0.702 on the last 420 answers"
    api.monitoring = monitoring(observation(complaint=complaint, estimated_accuracy=0.8))
    api.metrics = exposition([0.0005] * 90 + [0.9] * 60)

    text = said(opened(page))

    assert f"Worse than expected: {complaint}." in text
    assert all(f":red-badge[:material/warning: {word}]" in text for word in ("fallen", "low", "drifted", "slow"))
    assert "told from the reference with an AUC of 0.81" in text
    assert "from 0.021 to 0.3 at row 212" in text


def test_a_score_below_the_expected_one_without_a_complaint_is_not_called_a_fall(api, page):
    api.monitoring = monitoring(observation(quality=EXPECTED | {"balanced_accuracy": 0.88}))

    text = said(opened(page))

    assert "orange-badge[:material/error: lower]" in text
    assert "expected 0.951; the newest are not surely worse" in text


def test_every_column_is_listed_the_farthest_first(page):
    table = opened(page).dataframe[0].value

    assert list(table["column"]) == ["radius", "texture"]
    assert list(table["drifted"]) == ["drifted", ""]
    assert list(table["PSI"]) == [0.61, 0.04]


def test_a_column_whose_gaps_moved_is_told_apart(api, page):
    seen = observation()
    seen["drift"]["columns"].insert(0, moved("radius", 1.1, missing=True, statistics={}))
    api.monitoring = monitoring(seen)

    page = opened(page)

    assert page.dataframe[0].value["column"][0] == "radius (missing)"
    assert "1 of 2 columns" in said(page)


def test_values_that_the_reference_never_showed_are_counted(page):
    table = opened(page).dataframe[1].value

    assert table.iloc[0].tolist() == ["radius", 4, 7, 0, "6.9 to 28.1"]
    assert table.iloc[1].tolist() == ["stain", 0, 0, 2, "a, b, c, d, e, f and 2 more"]


def test_before_the_first_prediction_the_page_says_what_to_do(api, page):
    api.monitoring, api.metrics = {"latest": None, "history": []}, ""

    assert "Nothing to see yet: ask for a few predictions" in said(opened(page))


def test_predictions_that_nobody_looked_at_point_to_the_exporter(api, page):
    api.monitoring = {"latest": None, "history": []}

    assert "does the exporter run?" in said(opened(page))


def test_an_old_look_is_no_trouble_while_nobody_asks(api, page):
    api.monitoring = monitoring(observation(seconds_ago=3_600))

    assert "does the exporter run?" not in said(opened(page).run())


def test_an_old_look_while_rows_come_points_to_the_exporter(api, page):
    api.monitoring = monitoring(observation(seconds_ago=300))
    opened(page)
    api.metrics = exposition([0.0005] * 160)

    text = said(page.run())

    assert "Rows come, but the last look at them was 5 minutes ago: does the exporter run?" in text


def test_few_rows_give_no_verdict(api, page):
    few = {"served": {"rows": 12}, "drift": None, "estimated_accuracy": None}
    api.monitoring = monitoring(nothing_labelled(**few), minutes=1)

    text = said(opened(page))

    assert "12 rows of the 50 that a verdict needs" in text
    assert "Told from 50 predictions on; so far there are 12." in text
    assert "No labels yet: quality is known when true values come" in text


def test_the_first_look_before_any_row_breaks_nothing(api, page):
    nothing = nothing_labelled(served={"rows": 0}, drift=None, data_quality=[], predictions={}, estimated_accuracy=None)
    nothing["labels"] = {"coverage": None, "delay_seconds": {}}
    api.monitoring, api.metrics = monitoring(nothing, minutes=1), ""

    text = said(opened(page))

    assert "so far there are 0." in text
    assert "no requests yet" in text


def test_a_predicted_number_has_its_own_scores_and_no_estimate(api, page):
    api.predict_numbers()
    quantiles = {"0.05": 120.0, "0.5": 248.4, "0.95": 501.0}
    expected = NUMBERS | {"mae": 40.9}
    numbers = {"quality": NUMBERS, "expected": expected, "estimated_accuracy": None, "predictions": quantiles}
    api.monitoring = monitoring(observation(**numbers))
    for version in api.versions:
        version["metric"] = "mae"

    text = said(opened(page))

    assert "### 41.2" in text
    assert "expected 40.9" in text
    assert "as expected" in text
    assert "not for numbers" in text
    assert "median 248.4" in text


def test_many_classes_and_hundreds_of_columns_stay_readable(api, page):
    classes = {f"digit {number}": 1 / 40 for number in range(40)}
    columns = [(f"pixel {number}", 0.5 - number / 2_000) for number in range(784)]
    api.monitoring = monitoring(observation(columns, predictions=classes))

    page = opened(page)

    text = said(page)
    assert "The 15 most frequent of 40." in text
    assert "The 30 farthest columns." in text
    assert len(page.dataframe[0].value) == 784


def test_another_metric_and_a_longer_span_can_be_chosen(page):
    opened(page)

    page.selectbox(key="monitoring_metric").select("accuracy")
    page.selectbox(key="monitoring_span").select("everything")
    page.run()

    assert not page.exception
    assert "Dotted is what was estimated before labels came." in said(page)


def test_a_report_is_asked_for_by_a_button(api, page):
    opened(page)

    page.button(key="make_report").click().run()

    assert not page.exception
    assert api.received == ["report"]
    assert "The reports are being made" in page.toast[0].value


def test_names_from_the_data_are_text_and_never_markdown(api, page):
    seen = observation((("<b>[x](http://evil)</b>", 0.9), ("*y*", 0.0)), predictions={"$a_b$": 1.0})
    api.monitoring = monitoring(seen)

    opened(page)

    assert not any("<b>" in element.value for element in [*page.markdown, *page.caption])


def test_the_heat_map_shows_the_columns_that_moved_farthest_and_nothing_across_a_gap():
    seen = observation([(f"c{number}", number / 10) for number in range(40)])
    first, *others = Monitoring.model_validate(monitoring(seen, minutes=9)).history
    long_ago = first.model_copy(update={"created_at": first.created_at - timedelta(days=1)})

    (cells,) = monitoring_charts.drift([long_ago, *others], 0.25).to_dict()["datasets"].values()

    columns = [f"c{number}" for number in range(39, 9, -1)]
    assert list(dict.fromkeys(cell["column"] for cell in cells)) == columns
    assert {pd.Timestamp(cell["end"]) - pd.Timestamp(cell["at"]) for cell in cells} == {timedelta(minutes=1)}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.00042, "0.42 ms"),
        (0.112, "112 ms"),
        (3.16, "3.2 s"),
        (95, "1.6 min"),
        (86_400, "24 h"),
        (400_000, "4.6 days"),
    ],
)
def test_a_duration_is_said_in_the_unit_that_fits(seconds, text):
    assert duration(seconds) == text


def test_only_the_parts_that_are_known_are_linked(monkeypatch):
    monkeypatch.setenv("REPORTING_URL", "http://localhost:8082")
    for unknown in ("GRAFANA_URL", "MLFLOW_URL", "PROMETHEUS_URL"):
        monkeypatch.setenv(unknown, "")

    assert Settings().links == {"Evidently": "http://localhost:8082/"}
