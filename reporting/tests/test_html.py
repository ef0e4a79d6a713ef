"""The reports as pages, for a CI server to keep."""

from pathlib import Path

import pytest

from reporting import html
from reporting.window import NotReportable


def test_each_report_is_a_page_that_loads_nothing_from_elsewhere(data: Path, tmp_path: Path) -> None:
    pages = html.write(data, tmp_path / "pages")

    assert [page.name for page in pages] == ["data-drift.html", "data-quality.html", "classification.html"]
    for page in pages:
        text = page.read_text()
        assert "<html" in text
        assert '<script src="http' not in text


def test_where_nobody_has_looked_yet_there_is_no_page_and_no_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BOUCLE_DATA", str(tmp_path))

    html.main(tmp_path / "pages")

    assert capsys.readouterr().out.startswith("no reports: production was not looked at yet")
    with pytest.raises(NotReportable):
        html.write(tmp_path, tmp_path / "pages")
