"""What the numbers in the snapshots are: those of the observation, and those of scikit-learn on the same rows."""

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from evidently.core.report import Snapshot
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    mean_absolute_error,
    mean_absolute_percentage_error,
    precision_score,
    r2_score,
    root_mean_squared_error,
)

from boucle.contract import Classes
from reporting import reports
from reporting.tests.frames import COUNT, DIAGNOSIS, NUMBERS, made_up, with_cell, write
from reporting.window import PREDICTION, TARGET, read_window

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANIMALS = Classes(name="animal", classes=("cat", "dog", "emu"))


def numbers(snapshot: Snapshot) -> dict[tuple[str, str], object]:
    """Every value by the kind of its metric and the column, score or nothing that it is about."""
    found = {}
    for metric in snapshot.dict()["metrics"]:
        kind, config = metric["config"]["type"].rpartition(":")[2], metric["config"]
        found[kind, config.get("column") or config.get("score", "")] = metric["value"]
    return found


def of(data: Path) -> dict[tuple[str, str], object]:
    return {name: value for one in reports.snapshots(read_window(data), NOW) for name, value in numbers(one).items()}


def scores(data: Path) -> dict[str, object]:
    return {what: value for (kind, what), value in of(data).items() if kind == "Score"}


@pytest.mark.parametrize("rows", [50, 500])
def test_the_same_distribution_has_not_drifted(tmp_path: Path, rows: int) -> None:
    write(tmp_path, made_up(rows))

    assert of(tmp_path)["DriftedColumnsCount", ""] == {"count": 0, "share": 0}


def test_drift_is_the_one_that_every_display_shows(tmp_path: Path) -> None:
    seen = write(tmp_path, made_up(100, shift=1))

    found = of(tmp_path)

    assert found["DriftedColumnsCount", ""] == {"count": len(NUMBERS), "share": pytest.approx(0.8)}
    assert found["DriftShare", ""] == pytest.approx(0.8)
    assert seen.drift is not None
    for column in seen.drift.columns:
        assert found["ValueDrift", column.column] == pytest.approx(column.size)
    assert seen.drift.prediction is not None
    assert seen.drift.target is not None
    assert found["ValueDrift", PREDICTION] == pytest.approx(seen.drift.prediction.size)
    assert found["TargetDrift", ""] == pytest.approx(seen.drift.target.size)


def test_a_column_that_is_missing_more_often_has_drifted_too(tmp_path: Path) -> None:
    seen = write(tmp_path, with_cell(made_up(200), 150, "width", None))

    found = of(tmp_path)

    assert seen.drift is not None
    assert (seen.drift.columns[0].column, seen.drift.columns[0].missing) == ("width", True)
    assert found["ValueDrift", "width"] == pytest.approx(seen.drift.columns[0].size)
    assert found["DriftedColumnsCount", ""] == {"count": 1, "share": pytest.approx(0.2)}


def test_data_quality_counts_what_the_reference_never_showed(tmp_path: Path) -> None:
    rows = with_cell(with_cell(made_up(200), 7, "width", None)[::-1], 5, "height", 99.0)
    write(tmp_path, with_cell(rows, 3, "color", "pink"))

    found = of(tmp_path)

    assert found["DatasetMissingValueCount", ""] == {"count": 7, "share": pytest.approx(7 / 200)}
    assert found["MissingValueCount", "width"] == {"count": 7, "share": pytest.approx(7 / 200)}
    assert found["OutRangeValueCount", "height"] == {"count": 5, "share": pytest.approx(5 / 200)}
    assert found["OutListValueCount", "color"] == {"count": 3, "share": pytest.approx(3 / 200)}
    assert not [name for name in found if name[0] == "OutRangeValueCount" and name[1] != "height"]


@pytest.mark.parametrize(
    "target",
    [DIAGNOSIS, ANIMALS, Classes(name="truth", classes=(False, True)), Classes(name="digit", classes=(0, 1, 2))],
    ids=lambda target: target.name,
)
def test_scores_of_classes_are_the_means_over_the_classes(tmp_path: Path, target: Classes) -> None:
    rows = made_up(300, target)
    seen = write(tmp_path, rows, target=target)

    found = scores(tmp_path)

    truth, answers = [str(row.target) for row in rows], [str(row.prediction) for row in rows]
    assert found == pytest.approx(
        {
            "accuracy": accuracy_score(truth, answers),
            "balanced_accuracy": balanced_accuracy_score(truth, answers),
            "f1": f1_score(truth, answers, average="macro"),
            "precision": precision_score(truth, answers, average="macro"),
            "recall": balanced_accuracy_score(truth, answers),
        }
    )
    assert found == pytest.approx(seen.quality)
    assert of(tmp_path)["Confusion", ""] == sum(row.prediction != row.target for row in rows)


@pytest.mark.parametrize("occurring", [("cat",), ("cat", "emu")])
def test_classes_that_do_not_occur_count_for_nothing(tmp_path: Path, occurring: tuple[str, ...]) -> None:
    rows = [row for row in made_up(400, ANIMALS) if row.target in occurring]
    seen = write(tmp_path, rows, target=ANIMALS)

    found = scores(tmp_path)

    assert found == pytest.approx(seen.quality)
    assert set(found) == {"accuracy", "balanced_accuracy", "f1", "precision", "recall"}


def test_the_scores_of_a_quantity_are_those_of_scikit_learn(tmp_path: Path) -> None:
    rows = made_up(300, COUNT)
    seen = write(tmp_path, rows, target=COUNT)

    found = scores(tmp_path)

    truth, answers = [row.target for row in rows], [row.prediction for row in rows]
    assert found == pytest.approx(
        {
            "mae": mean_absolute_error(truth, answers),
            "rmse": root_mean_squared_error(truth, answers),
            "mape": mean_absolute_percentage_error(truth, answers),
            "r2": r2_score(truth, answers),
        }
    )
    assert found == pytest.approx(seen.quality)


def test_without_labels_there_is_a_report_on_drift_and_none_on_scores(tmp_path: Path) -> None:
    write(tmp_path, [], made_up(100))

    names = [snapshot.get_name() for snapshot in reports.snapshots(read_window(tmp_path), NOW)]

    assert names == ["Data drift", "Data quality"]


def test_every_number_can_be_computed_again_from_the_files(data: Path) -> None:
    rows = pd.read_csv(data / "monitoring" / "labelled.csv")

    found = scores(data)

    assert found["accuracy"] == pytest.approx((rows[TARGET] == rows[PREDICTION]).mean())
