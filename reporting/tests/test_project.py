"""What stands in the workspace after a refresh."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from evidently.ui.workspace import Project, Workspace

from boucle.monitoring.reports import request_report
from reporting.project import PROJECT_NAME, Reporter
from reporting.retention import Retention
from reporting.settings import Settings
from reporting.tests.frames import COUNT, made_up, write


def project(settings: Settings) -> Project:
    (found,) = Workspace(str(settings.workspace)).list_projects()
    return found


def snapshots(settings: Settings) -> list[Path]:
    return sorted(settings.workspace.glob("*/snapshots/*.json"))


def test_an_observation_gives_reports_on_drift_on_the_data_and_on_the_answers(settings: Settings) -> None:
    assert Reporter(settings).refresh()

    workspace = Workspace(str(settings.workspace))
    runs = [workspace.get_run(project(settings).id, path.stem) for path in snapshots(settings)]
    assert [run.name for run in runs if run] == ["Data drift", "Data quality", "Classification"]
    assert [run.tags for run in runs if run] == [["drift"], ["quality"], ["classification"]]


def test_without_a_new_observation_there_is_no_report_unless_somebody_asks(settings: Settings) -> None:
    reporter = Reporter(settings)
    reporter.refresh()

    assert not reporter.is_requested()
    assert not reporter.refresh()
    assert len(snapshots(settings)) == 3

    request_report(settings.data)

    assert reporter.is_requested()
    assert reporter.refresh()
    assert not reporter.is_requested()
    assert len(snapshots(settings)) == 6


def test_a_restart_finds_its_project_and_its_panels_again(settings: Settings) -> None:
    Reporter(settings).refresh()
    first, panels = project(settings), project(settings).dashboard.model()

    Reporter(settings).refresh()

    assert project(settings).id == first.id
    assert project(settings).name == PROJECT_NAME
    assert project(settings).dashboard.model() == panels
    assert len(panels.tabs[0].panels) == len(panels.panels) == len({panel.title for panel in panels.panels})


def test_a_quantity_gets_a_regression_report_and_panels_of_its_errors(settings: Settings) -> None:
    reporter = Reporter(settings)
    reporter.refresh()
    before = len(snapshots(settings))

    write(settings.data, target=COUNT)
    assert reporter.refresh()

    workspace = Workspace(str(settings.workspace))
    runs = [workspace.get_run(project(settings).id, path.stem) for path in snapshots(settings)[before:]]
    assert [run.name for run in runs if run] == ["Data drift", "Data quality", "Regression"]
    titles = {panel.title for panel in project(settings).dashboard.model().panels}
    assert {"MAE and RMSE", "MAPE and R²"} < titles
    assert not {"F1, accuracy and balanced accuracy", "Recall and precision"} & titles


def test_the_oldest_snapshots_are_forgotten(data: Path) -> None:
    settings = Settings(data=data, keep=6)
    reporter = Reporter(settings)
    reporter.refresh()
    oldest = snapshots(settings)

    for rows in (60, 70):
        write(data, made_up(rows))
        reporter.refresh()

    assert len(snapshots(settings)) == 6
    assert not set(oldest) & set(snapshots(settings))


def test_old_reports_keep_their_numbers_and_lose_their_plots(data: Path) -> None:
    settings = Settings(data=data, keep_plots=3)
    reporter = Reporter(settings)
    for rows in (50, 60, 70):
        write(data, made_up(rows))
        reporter.refresh()

    files = sorted((data / "reports").glob("*/snapshots/*.json"))
    drifts = [snapshot for snapshot in map(json.loads, map(Path.read_text, files)) if snapshot["tags"] == ["drift"]]

    plots = [sum(len(widget["additionalGraphs"]) for widget in drift["widgets"]) for drift in drifts]
    assert plots[:2] == [0, 0] < plots[2:]
    assert len({len(drift["metric_results"]) for drift in drifts}) == 1
    assert all(
        "details" not in row for widget in drifts[0]["widgets"] for row in (widget["params"] or {}).get("data", [])
    )
    # As the UI reads them.
    assert len(snapshots(settings)) == len(files) == 9


def test_reports_older_than_the_days_that_are_kept_are_forgotten(data: Path) -> None:
    settings = Settings(data=data, keep_days=30)
    Reporter(settings).refresh()
    workspace, its = Workspace(str(settings.workspace)), project(settings)
    first = snapshots(settings)

    kept = Retention(workspace, its.id, keep=400, keep_days=30, keep_plots=24)
    kept.forget(datetime.now(UTC) + timedelta(days=29))
    assert snapshots(settings) == first

    kept.forget(datetime.now(UTC) + timedelta(days=31))
    assert snapshots(settings) == []


def test_reports_grow_old_also_where_nothing_new_is_seen(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reporting.project.FORGET_EVERY", timedelta())
    settings = Settings(data=data, keep_days=30)
    reporter = Reporter(settings)
    reporter.refresh()
    written = snapshots(settings)
    for path, days in zip(written, (31, 29, 1), strict=True):
        path.rename(path.with_stem(str(UUID(int=UUID(path.stem).int - (days * 86_400_000 << 80)))))

    assert not reporter.refresh()

    assert len(snapshots(settings)) == len(written) - 1


def test_a_reason_not_to_report_is_said_once_and_reports_resume(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "reporting")
    reporter = Reporter(settings)
    for _ in range(3):
        write(settings.data, made_up(10))
        assert not reporter.refresh()

    write(settings.data, made_up(50))
    assert reporter.refresh()

    said = caplog.messages
    assert said[0] == 'report skipped reason="10 production rows are too few for a verdict"'
    assert said[1].startswith("report written rows=50 labels=50 drifted=0.00 accuracy=0.")
    assert len(said) == 2


def test_a_snapshot_that_could_not_be_written_whole_is_not_there(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    reporter = Reporter(settings)

    def disk_full(_: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("os.fsync", disk_full)
    with pytest.raises(OSError, match="No space left"):
        reporter.refresh()

    assert snapshots(settings) == []


def test_the_history_of_a_number_is_one_line(settings: Settings) -> None:
    reporter = Reporter(settings)
    reporter.refresh()
    for shift in (1, -1):
        write(settings.data, made_up(100, shift=shift, seed=4))
        reporter.refresh()

    contents = [json.loads(path.read_text()) for path in snapshots(settings)]
    drifts = [content for content in contents if content["tags"] == ["drift"]]
    results = [
        {one["metric_value_location"]["metric"]["metric_id"] for one in drift["metric_results"].values()}
        for drift in drifts
    ]

    assert results[0] == results[1] == results[2]
