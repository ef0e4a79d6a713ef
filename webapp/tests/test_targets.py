"""Predict and Batch over real HTTP, for what a target may be: a number, a class, a class nobody has seen."""

from collections.abc import Iterator

import pytest
from streamlit.testing.v1 import AppTest

from webapp.tests.fake_api import FakeApi, drawn, served


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def url(api: FakeApi) -> Iterator[str]:
    with served(api) as address:
        yield address


def texts(page: AppTest) -> str:
    assert not page.exception
    elements = [*page.markdown, *page.caption, *page.success, *page.info, *page.subheader]
    return "\n".join(element.value for element in elements).replace("\\", "")


def predicted(url: str) -> AppTest:
    return drawn("predict", url).run().button(key="predict").click().run()


def uploaded(url: str, content: str) -> AppTest:
    page = drawn("batch", url).run()
    page.file_uploader(key="upload").upload("cells.csv", content.encode(), "text/csv")
    return page.run().button(key="predict_batch").click().run()


def test_a_predicted_number_is_shown_as_one_with_what_the_data_hold(api, url):
    api.predict_numbers()

    page = predicted(url)

    assert "## 248.372" in texts(page)
    assert "The reference data hold 12.5 to 755, median 210.3." in texts(page)


def test_a_predicted_number_is_corrected_in_a_number_input(api, url):
    api.predict_numbers()
    page = predicted(url)
    (correction,) = [box for box in page.number_input if box.label == "True price"]
    assert correction.value == 248.37215

    correction.set_value(251.0)
    page.run().button(key="send_feedback").click().run()

    assert api.received[-1]["target"] == 251.0
    assert "Feedback recorded as row 17: **251**. 30 rows to the next retraining." in texts(page)


def test_a_number_that_is_confirmed_is_sent_with_all_its_digits(api, url):
    api.predict_numbers()

    predicted(url).button(key="send_feedback").click().run()

    assert api.received[-1]["target"] == 248.37215


def test_what_only_comes_whole_is_confirmed_as_the_nearest_whole_number(api, url):
    api.predict_numbers()
    api.target["x-observed"]["integer"] = True
    page = predicted(url)
    assert page.button(key="send_feedback").label == "Confirm and send"

    page.button(key="send_feedback").click().run()

    assert api.received[-1]["target"] == 248


def test_an_empty_correction_cannot_be_sent(api, url):
    api.predict_numbers()
    page = predicted(url)

    next(box for box in page.number_input if box.label == "True price").set_value(None)

    assert page.run().button(key="send_feedback").disabled


def test_a_file_of_numbers_is_compared_by_how_far_each_is_off(api, url):
    api.predict_numbers()

    page = uploaded(url, "radius,texture,price\n1,2,250.37215\n3,4,244.37215\n5,6,?\n")

    (table,) = page.dataframe
    assert list(table.value["off by"].round(6)[:2]) == [2.0, 4.0]
    assert "confidence" not in table.value and "agrees" not in table.value
    assert {metric.label: metric.value for metric in page.metric}["Off by, on average"] == "3"
    assert "Predicted against true" in texts(page)


def test_the_summary_stands_there_before_the_answers_so_that_nothing_moves_under_the_mouse(url):
    page = drawn("batch", url).run()
    page.file_uploader(key="upload").upload("cells.csv", b"radius,texture,diagnosis\n1,2,benign\n3,4,?\n", "text/csv")
    page.run()
    assert [(metric.label, metric.value) for metric in page.metric] == [("Rows", "2"), ("With a true diagnosis", "1")]

    page.button(key="predict_batch").click().run()

    assert [metric.label for metric in page.metric][:2] == ["Rows", "Predicted"]
    assert "predict_batch" not in [button.key for button in page.button]


def test_the_numbers_of_a_file_are_sent_as_numbers(api, url):
    api.predict_numbers()
    page = uploaded(url, "radius,texture,price\n1,2,250\n3,4,?\n")

    page.button(key="send_batch_feedback").click().run()

    assert [given["target"] for given in api.received] == [250.0]


def test_a_label_set_aside_is_said_to_be_with_the_reason(api, url):
    api.receipt |= {"status": "set aside", "reason": "oedema is new: learnt from 10 rows on"}
    page = predicted(url)

    page.radio[0].set_value("another…").run()
    page.text_input[0].set_value("oedema").run()
    page.button(key="send_feedback").click().run()

    assert api.received[-1]["target"] == "oedema"
    assert "oedema is new: learnt from 10 rows on" in texts(page)


def test_another_class_without_a_name_cannot_be_sent(url):
    page = predicted(url)

    page.radio[0].set_value("another…").run()

    assert page.button(key="send_feedback").disabled


def test_a_class_never_seen_is_sent_from_a_file_only_when_the_user_says_so(api, url):
    api.receipt |= {"status": "set aside", "reason": None}
    page = uploaded(url, "radius,texture,diagnosis\n1,2,benign\n3,4,oedema\n5,6,?\n")
    assert page.button(key="send_batch_feedback").label == "Send 1 label as feedback"

    (toggle,) = page.toggle
    assert "1 label of a class never seen: oedema" in toggle.label
    toggle.set_value(True).run()
    page.button(key="send_batch_feedback").click().run()

    assert [given["target"] for given in api.received] == ["benign", "oedema"]
    assert "learnt when there are enough rows" in texts(page)


def test_the_loop_names_the_error_that_less_of_is_better(api, url):
    for version in api.versions:
        version["metric"] = "rmse"

    page = drawn("loop", url).run()

    assert "champion and challenger by RMSE (less is better)" in texts(page)
