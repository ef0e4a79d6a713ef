"""What the numbers in the snapshots are."""

from datetime import UTC, datetime

import pandas as pd
import pytest
from sklearn.metrics import (
    balanced_accuracy_score,
    f1_score,
    mean_absolute_error,
    precision_score,
    r2_score,
    recall_score,
    root_mean_squared_error,
)

from reporting.reports import drift_report, headline, performance_report, task_of
from reporting.tests.frames import COLUMNS, production_rows, quantities, reference_rows
from reporting.window import NotReportable, Window

# scikit-learn says so when a score has nothing to divide by and is 0.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def window(current: pd.DataFrame, reference: pd.DataFrame | None = None) -> Window:
    return Window(reference_rows() if reference is None else reference, current, COLUMNS, unusable_rows=0)


def drifted_share(current: pd.DataFrame) -> float:
    return dict(headline(drift_report(window(current), NOW)))["drifted"]


def scores(current: pd.DataFrame, reference: pd.DataFrame | None = None) -> dict[str, float]:
    rows = window(current, reference)
    return dict(headline(performance_report(rows, task_of(rows), NOW)))


@pytest.mark.parametrize("rows", [50, 500])
def test_the_same_distribution_has_not_drifted(rows: int) -> None:
    assert drifted_share(production_rows(rows)) == 0


def test_a_shift_of_one_standard_deviation_drifts_every_column() -> None:
    assert drifted_share(production_rows(50, shift=1)) == 1


def test_the_drifted_share_counts_only_the_columns_that_moved() -> None:
    current = production_rows()
    current["PCA_2"] += 1

    assert drifted_share(current) == pytest.approx(1 / len(COLUMNS))


@pytest.mark.parametrize("rows", [400, 2000])
def test_the_drift_method_does_not_depend_on_the_number_of_rows(rows: int) -> None:
    metrics = drift_report(window(production_rows(rows), reference_rows(rows)), NOW).dict()["metrics"]

    methods = {metric["config"]["method"] for metric in metrics if "ValueDrift" in metric["config"]["type"]}
    assert methods == {"wasserstein"}


@pytest.mark.parametrize("labels", [("benign", "malignant"), ("0", "1"), ("False", "True")])
def test_binary_scores_are_those_of_scikit_learn_for_the_rarer_class(labels: tuple[str, str]) -> None:
    common, rare = labels
    current = production_rows(labels=(common, common, rare))
    reference = reference_rows(labels=(common, common, rare))

    found = scores(current, reference)

    truth, prediction = current["target"], current["prediction"]
    assert task_of(window(current, reference)).reading == f"positive class {rare}"
    assert found == pytest.approx(
        {
            "f1": f1_score(truth, prediction, pos_label=rare),
            "balanced_accuracy": balanced_accuracy_score(truth, prediction),
            "recall": recall_score(truth, prediction, pos_label=rare),
            "precision": precision_score(truth, prediction, pos_label=rare),
        }
    )


def test_the_rarer_class_is_positive_even_when_it_sorts_first() -> None:
    reference = reference_rows(labels=("acute", "benign", "benign"))

    assert task_of(window(production_rows(labels=("acute", "benign")), reference)).positive == "acute"


def test_multiclass_scores_are_macro_averages() -> None:
    labels = ("setosa", "versicolor", "virginica")
    current = production_rows(labels=labels)

    found = scores(current, reference_rows(labels=labels))

    truth, prediction = current["target"], current["prediction"]
    assert found == pytest.approx(
        {
            "f1": f1_score(truth, prediction, average="macro"),
            "balanced_accuracy": balanced_accuracy_score(truth, prediction),
            "recall": recall_score(truth, prediction, average="macro"),
            "precision": precision_score(truth, prediction, average="macro"),
        }
    )


def test_a_window_with_one_class_has_no_scores() -> None:
    current = production_rows().assign(target="benign", prediction="benign")

    with pytest.raises(NotReportable, match="every target in the window is benign"):
        task_of(window(current))


def test_a_model_that_never_says_the_positive_class_scores_zero() -> None:
    current = production_rows().assign(prediction="benign")

    assert scores(current) == {"f1": 0, "balanced_accuracy": 0.5, "recall": 0, "precision": 0}


def test_a_class_unknown_to_the_reference_makes_the_scores_macro_averages() -> None:
    current = production_rows()
    current.loc[:4, "prediction"] = "unknown"

    assert task_of(window(current)).reading == "macro average"
    assert scores(current)["f1"] == pytest.approx(f1_score(current["target"], current["prediction"], average="macro"))


def test_two_classes_of_three_in_the_window_have_no_scores() -> None:
    reference = reference_rows(labels=("benign", "malignant", "borderline"))

    with pytest.raises(NotReportable, match="only benign and malignant of 3 classes occur in the window"):
        task_of(window(production_rows(), reference))


def test_a_class_that_a_multiclass_model_never_predicts_counts_as_zero() -> None:
    labels = ("setosa", "versicolor", "virginica")
    current = production_rows(labels=labels).replace({"prediction": "setosa"}, "virginica")

    found = scores(current, reference_rows(labels=labels))

    assert found["f1"] == pytest.approx(f1_score(current["target"], current["prediction"], average="macro"))


def quantity_window(current: pd.DataFrame) -> Window:
    return Window(quantities(reference_rows()), current, COLUMNS, unusable_rows=0, is_quantity=True)


def test_the_scores_of_a_quantity_are_those_of_scikit_learn() -> None:
    current = quantities(production_rows())
    rows = quantity_window(current)

    found = dict(headline(performance_report(rows, task_of(rows), NOW)))

    truth, prediction = current["target"], current["prediction"]
    assert found == pytest.approx(
        {
            "mae": mean_absolute_error(truth, prediction),
            "rmse": root_mean_squared_error(truth, prediction),
            "mean_error": (prediction - truth).mean(),
            "r2": r2_score(truth, prediction),
        }
    )


@pytest.mark.parametrize("error", [0, 3])
def test_predictions_that_are_all_equally_wrong_have_scores(error: float) -> None:
    current = quantities(production_rows(50))
    rows = quantity_window(current.assign(prediction=current["target"] + error))

    assert dict(headline(performance_report(rows, task_of(rows), NOW)))["mae"] == error


def test_a_model_that_always_says_the_same_quantity_has_scores() -> None:
    rows = quantity_window(quantities(production_rows(50)).assign(prediction=200.0))

    assert dict(headline(performance_report(rows, task_of(rows), NOW)))["r2"] <= 0


def test_a_window_where_every_quantity_is_the_same_has_no_scores() -> None:
    with pytest.raises(NotReportable, match="every target in the window is 7"):
        task_of(quantity_window(quantities(production_rows()).assign(target=7.0)))


@pytest.mark.parametrize("predicted", ["joined", "benign"])
def test_a_class_that_joined_after_the_reference_counts_as_a_class(predicted: str) -> None:
    current = production_rows()
    current.loc[:9, ["target", "prediction"]] = "joined", predicted

    found = scores(current)

    truth, prediction = current["target"], current["prediction"]
    assert found["recall"] == pytest.approx(recall_score(truth, prediction, average="macro"))
