"""The Models page over real HTTP: what it says, what its buttons do, and that nothing missing breaks it."""

from collections.abc import Iterator

import pytest
from streamlit.testing.v1 import AppTest

from webapp.tests.fake_api import FakeApi, drawn, exam, run, served, version


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def page(api: FakeApi) -> Iterator[AppTest]:
    """The page, not yet run: a test first says what the API answers."""
    with served(api) as url:
        yield drawn("models", url)


def opened(page: AppTest, chosen: str | None = None) -> AppTest:
    # AppTest cannot tick a row of a table; the browser test does.
    page.session_state["chosen_version"] = chosen
    page.run()
    assert not page.exception
    return page


def said(page: AppTest) -> str:
    """All the page's texts, without the backslashes that keep data from being Markdown."""
    elements = [*page.markdown, *page.caption, *page.success, *page.warning, *page.error, *page.subheader]
    return "\n".join(element.value for element in elements).replace("\\", "")


def asked_to_promote(page: AppTest, reason: str) -> AppTest:
    page.button(key="promote").click().run()
    page.text_input(key="promotion_reason").input(reason)
    return page.button(key="promotion_confirm").click().run()


def test_who_serves_since_when_and_why_stands_at_the_top(page):
    text = said(opened(page))

    assert "## v4" in text
    assert "since 2026-11-19 13:00:00" in text
    assert "Why: won by 0.05 on 250 rows (by run 12)" in text


def test_a_running_training_shows_how_far_it_is_and_what_started_it(api, page):
    progress = {"progress": "exam: random_forest, window: fold 3 of 5", "progress_share": 0.55}
    api.loop["runs"] = [run(13, state="running", verdict=None, exam=None, reason=None, **progress), run(12)]

    opened(page)

    bars = {bar.proto.text.replace("\\", ""): bar.proto.value for bar in page.get("progress")}
    assert bars["exam: random_forest, window: fold 3 of 5"] == 55
    assert "Started by drift: mean radius moved" in said(page)


@pytest.mark.parametrize(
    ("verdict", "found", "sentence"),
    [
        ("promoted", {}, "v4 replaced v3: random forest, window, won by 0.050 on 250 rows."),
        ("rejected", {"difference": -0.012}, "v3 stays: random forest, window, lost by 0.012 on 250 rows."),
        (
            "insufficient evidence",
            {"difference": 0.03, "lower": -0.045},
            "v3 stays for now: random forest, window, won by 0.030 on 250 rows, "
            "but it may really be worse by 0.045, and 0.020 is tolerated. More feedback will tell.",
        ),
        (
            "insufficient evidence",
            {"difference": 0.0, "lower": -0.01},
            "v3 stays for now: random forest, window, did as well on 250 rows, "
            "but nothing speaks for a change. More feedback will tell.",
        ),
        (
            "promoted",
            {"metric": "mae", "difference": 0.08},
            "v4 replaced v3: random forest, window, saved 8.0% of the error on 250 rows.",
        ),
    ],
)
def test_the_verdict_of_the_last_exam_is_one_plain_sentence(api, page, verdict, found, sentence):
    api.loop["runs"] = [run(12, verdict=verdict, exam=exam(**found))]

    assert sentence in said(opened(page))


def test_the_exam_shown_is_the_newest_there_is_even_when_a_later_run_had_none(api, page):
    api.loop["runs"] = [run(14, state="failed", verdict=None, exam=None, reason="out of memory"), run(12)]

    text = said(opened(page))

    assert "Run #14 failed: out of memory" in text
    assert "v4 replaced v3" in text


def test_a_request_merged_into_the_run_under_way_does_not_hide_it(api, page):
    waiting = {"verdict": None, "version": None, "exam": None, "reason": None}
    api.loop["runs"] = [run(14, state="coalesced", **waiting), run(13, state="running", **waiting), run(12)]

    text = said(opened(page))

    assert "#13 running" in text
    assert "#14" not in text


def test_a_reason_that_names_its_trigger_is_said_once(api, page):
    api.loop["runs"] = [
        run(12, trigger="feedback", trigger_reason="feedback row 400, of which every 50th requests a run")
    ]

    assert "Started by feedback row 400" in said(opened(page))


def test_a_gain_that_several_challengers_made_is_not_said_of_one(api, page):
    api.loop["runs"] = [run(12, verdict="rejected", exam=exam(challenger_score=0.80, difference=-0.011))]

    text = said(opened(page))

    assert "v3 stays: the leading challengers lost by 0.011 on 250 rows." in text
    assert "The gain is of whoever had led until each part" in text


def test_a_project_that_was_only_trained_once_has_a_page_without_gaps(api, page):
    api.versions, api.history = api.versions[-1:], api.history[-1:]
    api.loop |= {"k": None, "rows_to_next_retraining": None, "runs": []}

    text = said(opened(page))

    assert "None to show yet" in text
    assert "No run yet" in text
    assert "The number of rows starts no retraining" in text


def test_an_exam_and_a_version_without_figures_break_nothing(api, page):
    nothing = dict.fromkeys(("champion_score", "challenger_score", "difference", "lower", "upper"))
    api.loop["runs"] = [
        run(12, verdict="rejected", reason="only one class occurs", exam=exam(challengers=[], **nothing))
    ]
    api.versions = [version("v4", metrics={}, strategy=None, run_id=None, verdict=None)]

    assert "only one class occurs" in said(opened(page))


def test_the_api_of_before_the_exams_is_understood(api, page):
    api.loop["runs"] = [
        {name: value for name, value in run(12).items() if name not in ("exam", "progress", "trigger_reason")}
    ]
    api.history = api.history[:1]

    assert "None to show yet" in said(opened(page))


def test_a_chosen_version_shows_its_card_its_reason_and_the_way_back_to_it(page):
    opened(page, "v3")

    assert page.button(key="promote").label == "Roll back to v3"
    assert "The card of v3." in said(page)
    assert "won its exam" in said(page)


def test_a_version_that_never_served_is_promoted_not_rolled_back_to(page):
    assert opened(page, "v5").button(key="promote").label == "Promote v5"


def test_the_champion_has_no_button(page):
    opened(page, "v4")

    assert "promote" not in [button.key for button in page.button]


def test_a_rollback_sends_the_reason_and_whom_it_replaces_and_says_what_happened(api, page):
    opened(page, "v3")

    asked_to_promote(page, "v4 misses small cells")

    assert api.received == [{"reason": "v4 misses small cells", "actor": "webapp", "replacing": "v4"}]
    assert "v3** serves now, in place of v4" in said(page)
    assert "promotion_reason" not in [box.key for box in page.text_input]


def test_without_a_reason_nothing_is_sent(api, page):
    opened(page, "v3")

    asked_to_promote(page, "  ")

    assert api.received == []
    assert "Say why" in said(page)


def test_whoever_was_quicker_is_named_and_nothing_is_changed(api, page):
    opened(page, "v3")
    page.button(key="promote").click().run()
    api.take_over("v5", "better on new scanners", "grace")

    page.text_input(key="promotion_reason").input("v4 misses small cells")
    page.button(key="promotion_confirm").click().run()

    assert not page.exception
    assert "Nothing was changed: **v5** took over meanwhile: better on new scanners" in said(page)
    assert api.models["champion"] == "v5"


def test_the_news_of_a_takeover_waits_until_the_dialog_is_closed_since_it_would_close_it(api, page):
    opened(page, "v3")
    page.button(key="promote").click().run()
    api.take_over("v5", "better on new scanners", "grace")

    page.run()
    assert not page.toast

    page.button(key="promotion_cancel").click().run()
    assert "v5** took over from v4" in page.toast[0].value


@pytest.mark.parametrize(("status", "detail"), [(409, "v3: model.pkl is damaged"), (404, "no version 'v3'")])
def test_a_refusal_is_told_in_the_words_of_the_api(api, page, status, detail):
    opened(page, "v3")
    api.refusal = (status, detail)

    asked_to_promote(page, "back to what worked")

    assert not page.exception
    assert detail in said(page)
    assert "Nothing was changed." in said(page)


def test_cancel_puts_the_question_away(api, page):
    opened(page, "v3")
    page.button(key="promote").click().run()

    page.button(key="promotion_cancel").click().run()

    assert api.received == []
    assert "promotion_reason" not in [box.key for box in page.text_input]
