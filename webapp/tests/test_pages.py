"""The pages without an API: one clear message, no traceback. With one, the browser test looks at them."""

import socket
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

API_PAGE = Path(__file__).parents[1] / "api.py"


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def opened(monkeypatch: pytest.MonkeyPatch, url: str) -> AppTest:
    monkeypatch.setenv("SERVING_URL", url)
    return AppTest.from_file(str(API_PAGE), default_timeout=30).run()


def test_without_an_api_the_page_says_so_and_how_to_start_it(monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(monkeypatch, f"http://127.0.0.1:{closed_port()}")

    assert not page.exception
    (message,) = page.error
    assert "does not answer" in message.value
    assert "`make run`" in message.value


def test_without_an_api_the_page_stays_calm_however_often_it_is_rerun(monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(monkeypatch, f"http://127.0.0.1:{closed_port()}")

    page.run().run()

    assert not page.exception
    assert len(page.error) == 1


def test_no_folder_bears_the_name_that_streamlit_runs_in_place_of_the_entry() -> None:
    assert not API_PAGE.with_name("pages").exists()


def test_a_wrong_address_is_named_with_what_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(monkeypatch, "not a url")

    assert not page.exception
    (message,) = page.error
    assert "SERVING" in message.value and "allowed is" in message.value
