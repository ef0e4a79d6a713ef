"""Why a prediction came out as it did, on the Predict page over real HTTP."""

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


def explained(url: str) -> AppTest:
    page = drawn("predict", url).run().button(key="predict").click().run()
    return page.button(key="explain").click().run()


def texts(page: AppTest) -> str:
    assert not page.exception
    return "\n".join(element.value for element in [*page.markdown, *page.caption, *page.error]).replace("\\", "")


def test_nothing_is_explained_before_somebody_asks(api, url):
    page = drawn("predict", url).run().button(key="predict").click().run()

    assert "Why benign?" not in texts(page)
    assert not any("prediction_id" in given for given in api.received)


def test_the_explanation_leads_from_the_average_to_the_answer(url):
    text = texts(explained(url))

    assert "**Why benign?** The probability of benign is 62.0% on average, and **90.0%** here." in text
    assert "By sampling, give or take 1.2%, against 200 of 455 reference rows." in text


def test_the_prediction_on_the_page_is_explained_not_what_the_form_holds_by_now(api, url):
    page = drawn("predict", url).run().button(key="predict").click().run()
    identifier = page.session_state["prediction"].prediction_id

    page.button(key="explain").click().run()

    assert api.received == [{"prediction_id": identifier}]


def test_an_explanation_is_asked_for_once_and_goes_with_its_prediction(api, url):
    page = explained(url).run().run()
    assert len(api.received) == 1

    page.button(key="predict").click().run()

    assert "Why benign?" not in texts(page)
    assert page.button(key="explain")


def test_log_odds_are_exact_and_have_no_unit(api, url):
    api.explanation |= {
        "method": "linear",
        "scale": "log-odds of benign",
        "base": -0.923,
        "output": 2.2,
        "standard_error": None,
        "background": "the mean of all 455 reference rows",
    }

    text = texts(explained(url))

    assert "The log-odds of benign are −0.92 on average, and **2.20** here." in text  # noqa: RUF001
    assert "Exact, against the mean of all 455 reference rows." in text


def test_a_predicted_number_is_explained_in_its_own_unit(api, url):
    api.predict_numbers()
    api.explanation |= {"prediction": 248.37215, "scale": "price", "base": 210.3333, "output": 248.37215}

    text = texts(explained(url))

    assert "**Why 248.372?** The predicted price is 210.3 on average, and **248.4** here." in text
    assert "Bars to the right raise it, bars to the left lower it." in text


def test_a_prediction_that_cannot_be_explained_any_more_is_said_to_be_so(api, url):
    api.refusal = (404, "v1, which made it, is kept no longer; send its data instead")

    page = explained(url)

    assert "v1, which made it, is kept no longer" in texts(page)
    assert page.button(key="explain")


def test_names_from_the_data_are_shown_as_they_are(api, url):
    api.explanation |= {"scale": "probability of [click](http://x)", "background": "**all** rows"}

    page = explained(url)

    assert not page.exception
    assert not any("[click](http" in element.value for element in page.markdown)
