"""The webapp in a real browser, against the real API, trainer and streamlit: what a newcomer does first."""

import os
import shutil
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
import requests
from playwright.sync_api import Page, expect, sync_playwright

from boucle.demo import draw
from tests.support import ROOT, answers, free_port, process, serving, trainer, wait_for

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SCREENSHOTS = ROOT / "screenshots"
# With so many rows after the shift a challenger passes its exam; see scripts/tests/test_retraining.py.
ROWS = 100
# The trainer has still to start when the first page is open, and a machine that runs other tests is slow.
TRAINING_MILLISECONDS = 240_000
# While a table is drawn anew, Streamlit leaves the one before in the page and marks it as retained.
TABLE = "[data-testid=stElementContainer]:not([data-retained]) [data-testid=stDataFrame]"

pytestmark = pytest.mark.skipif(
    CHROMIUM is None and "CI" not in os.environ, reason="no Chromium on this machine: apt-get install chromium"
)


@pytest.fixture(scope="module")
def page():
    SCREENSHOTS.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.set_default_timeout(30_000)
        expect.set_options(timeout=30_000)
        yield page
        browser.close()


@contextmanager
def webapp(home, api, **environment):
    port = free_port()
    arguments = ["-m", "streamlit", "run", "webapp/api.py", f"--server.port={port}", "--server.address=127.0.0.1"]
    with process(arguments, home.environment(SERVING_URL=api, **environment), home.folder / "webapp.log"):
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: answers(f"{url}/_stcore/health"), "the webapp")
        yield url


def photograph(page: Page, name: str) -> None:
    page.wait_for_timeout(700)  # Streamlit fades its elements in
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def shifted_rows(home, rows):
    records, labels = draw(home.preparation, rows, 0.15, np.random.default_rng(0))
    return pd.DataFrame(records).assign(diagnosis=labels)


def test_upload_predict_feedback_and_the_new_version_is_shown(page, home):
    shifted_rows(home, ROWS).to_csv(home.folder / "patients.csv", index=False)
    with serving(home, workers=1, BOUCLE__FEEDBACK__K=str(ROWS)) as api, trainer(home), webapp(home, api) as url:
        page.goto(url)
        page.locator(".st-key-predict button").click()
        expect(page.locator(".st-key-model_version")).to_contain_text("model v1")
        photograph(page, "predict")

        page.locator(".st-key-explain button").click()
        expect(page.locator(".st-key-why")).to_contain_text("on average")
        photograph(page, "explanation")

        page.locator(".st-key-label [data-testid=stRadioOption]").filter(has_text="malignant").click()
        page.locator(".st-key-send_feedback button").click()
        expect(page.locator(".st-key-receipt")).to_contain_text("row 1")
        expect(page.locator(".st-key-receipt")).to_contain_text(f"{ROWS - 1} rows to the next retraining")
        photograph(page, "feedback")

        page.get_by_role("link", name="Batch").click()
        page.locator(".st-key-upload input[type=file]").set_input_files(home.folder / "patients.csv")
        page.locator(".st-key-predict_batch button").click()
        expect(page.locator(".st-key-summary")).to_contain_text("Agreement")
        photograph(page, "batch")
        page.locator(".st-key-send_batch_feedback button").click()
        expect(page.locator(".st-key-batch_receipt")).to_be_visible()

        expect(page.locator(".st-key-status_version")).to_contain_text("v2", timeout=TRAINING_MILLISECONDS)
        expect(page.locator(".st-key-takeover")).to_contain_text("v2 took over from v1")
        page.get_by_role("link", name="Loop").click()
        expect(page.get_by_text("Training runs")).to_be_visible()
        photograph(page, "loop")
    assert len(home.prod_data.read_text().splitlines()) == 1 + 1 + ROWS


def test_the_models_page_follows_a_training_and_rolls_back(page, home):
    shifted_rows(home, ROWS).to_csv(home.folder / "patients.csv", index=False)
    with serving(home, workers=1, BOUCLE__FEEDBACK__K=str(ROWS)) as api, trainer(home), webapp(home, api) as url:
        page.goto(f"{url}/batch")
        page.locator(".st-key-upload input[type=file]").set_input_files(home.folder / "patients.csv")
        page.locator(".st-key-predict_batch button").click()
        expect(page.locator(".st-key-summary")).to_contain_text("Agreement")
        photograph(page, "batch")
        page.locator(".st-key-send_batch_feedback button").click()
        expect(page.locator(".st-key-batch_receipt")).to_be_visible()
        page.get_by_role("link", name="Models").click()
        expect(page.locator(".st-key-champion")).to_contain_text("v2", timeout=TRAINING_MILLISECONDS)
        expect(page.locator(".st-key-training")).to_contain_text("promoted")

        expect(page.locator(TABLE)).to_contain_text("v2")
        tick_row(page, 2)
        expect(page.locator(".st-key-version")).to_contain_text("Predicts diagnosis")
        photograph(page, "models")
        page.get_by_role("button", name="Roll back to v1").click()
        page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_role("dialog")).to_have_count(0)

        page.get_by_role("button", name="Roll back to v1").click()
        page.get_by_label("Why").fill("v2 was a try")
        page.get_by_role("dialog").get_by_role("button", name="Roll back to v1").click()

        expect(page.locator(".st-key-promotion_outcome")).to_contain_text("v1 serves now, in place of v2: v2 was a try")
        expect(page.locator(".st-key-champion")).to_contain_text("v2 was a try")
    assert home.artifacts.champion_version() == "v1"


def test_the_monitoring_page_shows_a_shift_by_itself(page, home):
    exporter = ["-m", "monitoring.exporter"]
    looking = home.environment(EXPORTER_PORT=str(free_port()), EXPORTER_INTERVAL_SECONDS="1")
    with (
        serving(home, workers=1, BOUCLE__FEEDBACK__K="0") as api,
        process(exporter, looking, home.folder / "exporter.log"),
        webapp(home, api, REPORTING_URL="http://localhost:8082") as url,
    ):
        page.goto(f"{url}/monitoring")
        expect(page.locator(".st-key-monitoring_actions")).to_contain_text("Evidently")
        expect(page.locator(".st-key-vital_0")).to_contain_text("no labels yet")
        send(api, home, ROWS, shift=0.0)
        expect(page.locator(".st-key-vital_0")).to_contain_text("as expected")
        expect(page.locator(".st-key-vital_2")).not_to_contain_text("too few rows")
        send(api, home, 2 * ROWS, shift=0.15)
        expect(page.locator(".st-key-complaint")).to_contain_text("balanced accuracy fell")
        expect(page.locator(".st-key-vital_2")).to_contain_text("drifted")
        expect(page.get_by_role("img").filter(has_text="worst texture").first).to_be_visible()
        photograph(page, "monitoring")

        page.locator(".st-key-make_report button").click()
        wait_for((home.places.data / "reports" / "requested").exists, "the request for a report")
        page.set_viewport_size({"width": 800, "height": 1000})
        page.wait_for_timeout(700)
        tiles = [page.locator(f".st-key-vital_{number}").bounding_box() for number in range(5)]
        page.set_viewport_size({"width": 1440, "height": 1000})
    assert all(tile["x"] + tile["width"] <= 800 for tile in tiles)


def send(api, home, rows, shift):
    """Predictions, and what was true of each."""
    records, labels = draw(home.preparation, rows, shift, np.random.default_rng(rows))
    for record, label in zip(records, labels, strict=True):
        answer = requests.post(f"{api}/predict", json=record, timeout=10).json()
        body = {"prediction_id": answer["prediction_id"], "target": label}
        assert requests.post(f"{api}/feedback", json=body, timeout=10).status_code == 201


def tick_row(page: Page, row: int) -> None:
    """Tick a row of the only table, counted from 1: it is drawn on a canvas, which only a place in it can name."""
    table = page.locator(TABLE)
    page.wait_for_timeout(700)  # a table that grows a row is another element
    table.scroll_into_view_if_needed()
    page.wait_for_timeout(700)  # Streamlit fades its elements in
    table.click(position={"x": 18, "y": 38 + 35 * row - 20})


def test_the_page_says_that_the_api_is_away_and_recovers_by_itself(page, home):
    port = free_port()
    with webapp(home, f"http://127.0.0.1:{port}") as url:
        page.goto(url)
        expect(page.locator(".st-key-outage")).to_contain_text("make run")
        photograph(page, "api-down")

        with serving(home, workers=1, port=port):
            expect(page.locator(".st-key-status_version")).to_contain_text("v1")
            expect(page.locator(".st-key-outage")).to_have_count(0)
            page.locator(".st-key-predict button").click()
            expect(page.locator(".st-key-prediction")).to_be_visible()

        expect(page.locator(".st-key-outage")).to_be_visible()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("picture.csv", b"\x89PNG\r\n\x1a\n", "a PNG image"),
        ("latin.csv", "é;1".encode("latin-1"), "not UTF-8"),
        ("empty.csv", b"", "empty"),
        ("few.csv", b"mean radius\n1\n", "lacks the columns"),
        ("broken.json", b'[{"mean radius": ', "not valid JSON"),
    ],
)
def test_a_wrong_file_is_named_and_never_a_traceback(page, home, wrong_file_stack, name, content, said):
    (home.folder / name).write_bytes(content)

    page.goto(f"{wrong_file_stack}/batch")
    page.locator(".st-key-upload input[type=file]").set_input_files(home.folder / name)

    expect(page.locator(".st-key-unreadable")).to_contain_text(said)
    expect(page.locator("[data-testid=stException]")).to_have_count(0)


@pytest.fixture(scope="module")
def wrong_file_stack(shared_home):
    with serving(shared_home, workers=1) as api, webapp(shared_home, api) as url:
        yield url


def test_try_it_out_works_on_the_api_page_without_typing(page, home):
    with serving(home, workers=1) as api:
        page.goto(f"{api}/docs")
        page.locator("#operations-predict-predict_predict_post .opblock-summary-control").click()
        operation = page.locator("#operations-predict-predict_predict_post")
        if operation.get_by_role("button", name="Try it out").is_visible():
            operation.get_by_role("button", name="Try it out").click()
        operation.get_by_role("button", name="Execute").click()

        expect(operation.locator(".live-responses-table")).to_contain_text("prediction_id")
        photograph(page, "try-it-out")
