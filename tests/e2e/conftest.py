"""One composed stack for all tests of this folder; they run in the order of the file."""

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.e2e.stack import Stack
from tests.support import ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LOG = ROOT / "screenshots" / "e2e.log"


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    stack = Stack(tmp_path_factory.mktemp("e2e") / "boucle")
    stack.remove()  # what an earlier run, that was killed, left behind
    LOG.parent.mkdir(exist_ok=True)
    try:
        said = stack.run("make", "up", check=False)
        LOG.write_text(said.stdout)
        assert said.returncode == 0, said.stdout[-5000:]
        yield stack
    finally:
        logs = stack.run("docker", "compose", "logs", "--timestamps", "--no-color", check=False).stdout
        LOG.write_text(logs)
        stack.remove()


@pytest.fixture(scope="module")
def page():
    Path(ROOT / "screenshots").mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.set_default_timeout(60_000)
        expect.set_options(timeout=60_000)
        yield page
        browser.close()
