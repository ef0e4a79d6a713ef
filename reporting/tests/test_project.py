"""What stands in the workspace after a refresh."""

import json
from pathlib import Path

import pytest
from evidently.ui.workspace import Project, Workspace

from reporting.project import PROJECT_NAME, Reporter
from reporting.settings import Settings
from reporting.tests.frames import production_rows, reference_rows, write, write_quantities


def project(settings: Settings) -> Project:
    (found,) = Workspace(str(settings.workspace)).list_projects()
    return found


def snapshots(settings: Settings) -> list[Path]:
    return sorted(settings.workspace.glob("*/snapshots/*.json"))


def test_changed_data_give_a_drift_and_a_classification_report(settings: Settings) -> None:
    assert Reporter(settings).refresh()

    workspace = Workspace(str(settings.workspace))
    runs = [workspace.get_run(project(settings).id, path.stem) for path in snapshots(settings)]
    assert [run.name for run in runs if run] == ["Data drift", "Classification, positive class malignant"]
    assert [run.tags for run in runs if run] == [["drift"], ["classification"]]


def test_unchanged_data_give_no_report(settings: Settings) -> None:
    reporter = Reporter(settings)
    reporter.refresh()

    assert not reporter.refresh()
    assert len(snapshots(settings)) == 2


def test_a_restart_finds_its_project_and_its_panels_again(settings: Settings) -> None:
    Reporter(settings).refresh()
    first, panels = project(settings), project(settings).dashboard.model()

    Reporter(settings).refresh()

    assert project(settings).id == first.id
    assert project(settings).name == PROJECT_NAME
    assert project(settings).dashboard.model() == panels
    assert len(panels.tabs[0].panels) == len(panels.panels) == len({panel.title for panel in panels.panels})


def test_the_dashboard_names_the_positive_class(settings: Settings) -> None:
    Reporter(settings).refresh()

    titles = [panel.title for panel in project(settings).dashboard.model().panels]
    assert "Latest scores, positive class malignant" in titles


def test_a_quantity_gets_a_regression_report_and_panels_of_its_errors(settings: Settings) -> None:
    reporter = Reporter(settings)
    reporter.refresh()
    before = len(snapshots(settings))

    write_quantities(settings.data)
    assert reporter.refresh()

    workspace = Workspace(str(settings.workspace))
    runs = [workspace.get_run(project(settings).id, path.stem) for path in snapshots(settings)[before:]]
    assert [run.name for run in runs if run] == ["Data drift", "Regression"]
    titles = {panel.title for panel in project(settings).dashboard.model().panels}
    assert {"Latest scores, errors in units of the target", "MAE and RMSE", "Mean error"} < titles
    assert not {"F1 and balanced accuracy", "Recall and precision"} & titles


def test_the_dashboard_shows_no_scores_before_the_first(data: Path) -> None:
    settings = Settings(data=data)
    write(data, production=production_rows(10))

    Reporter(settings).refresh()

    titles = [panel.title for panel in project(settings).dashboard.model().panels]
    assert "Latest drift report" in titles
    assert not [title for title in titles if "scores" in title]


def test_the_oldest_snapshots_are_forgotten(data: Path) -> None:
    settings = Settings(data=data, keep=4)
    reporter = Reporter(settings)
    reporter.refresh()
    oldest = snapshots(settings)

    for rows in (60, 70):
        write(data, production=production_rows(rows))
        reporter.refresh()

    assert len(snapshots(settings)) == 4
    assert not set(oldest) & set(snapshots(settings))


def test_old_reports_keep_their_numbers_and_lose_their_plots(data: Path) -> None:
    settings = Settings(data=data, keep_plots=2)
    reporter = Reporter(settings)
    for rows in (50, 60, 70):
        write(data, production=production_rows(rows))
        reporter.refresh()

    files = sorted((data / "reports").glob("*/snapshots/*.json"))
    drifts = [snapshot for snapshot in map(json.loads, map(Path.read_text, files)) if snapshot["tags"] == ["drift"]]

    plots = [sum(len(widget["additionalGraphs"]) for widget in drift["widgets"]) for drift in drifts]
    assert plots[:2] == [0, 0] < plots[2:]
    assert len({len(drift["metric_results"]) for drift in drifts}) == 1
    assert all("details" not in row for widget in drifts[0]["widgets"] for row in widget["params"].get("data", []))
    # As the UI reads them.
    assert len(snapshots(settings)) == len(files) == 6


def test_a_reason_not_to_report_is_said_once_and_reports_resume(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "reporting")
    reporter = Reporter(settings)
    for rows in (10, 20, 30):
        write(settings.data, production=production_rows(rows))
        assert not reporter.refresh()

    write(settings.data, production=production_rows(50))
    assert reporter.refresh()

    said = caplog.messages
    assert said[0] == 'report skipped reason="prod_data.csv has fewer than 50 usable rows"'
    assert said[1].startswith("report written rows=50 unusable_rows=0 drifted=0.00 f1=")
    assert len(said) == 2


def test_a_window_with_one_class_gets_a_drift_report_and_says_why_no_scores(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "reporting")
    write(settings.data, production=production_rows().assign(target="benign"))

    Reporter(settings).refresh()

    assert len(snapshots(settings)) == 1
    assert 'scores=skipped reason="every target in the window is benign"' in caplog.text


def test_another_project_of_the_user_is_reported_once_both_files_are_its_own(settings: Settings) -> None:
    reporter = Reporter(settings)
    reporter.refresh()
    names = {f"PCA_{number}": f"LSA_{number}" for number in range(1, 6)}

    write(settings.data, reference=reference_rows().rename(columns=names))
    assert not reporter.refresh()

    write(settings.data, production=production_rows().rename(columns=names))
    assert reporter.refresh()


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
