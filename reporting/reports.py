"""A window of rows in, Evidently snapshots out: data drift, and how good the predictions were."""

# mypy: disable-error-code="misc"
# evidently ships no py.typed, so that its classes are Any.

from dataclasses import dataclass
from datetime import datetime

import pandas as pd
from evidently import BinaryClassification, DataDefinition, Dataset, MulticlassClassification, Regression, Report
from evidently.core.metric_types import SingleValue, SingleValueCalculation, SingleValueMetric
from evidently.core.report import Context, Snapshot
from evidently.legacy.renderers.html_widgets import CounterData, counter
from evidently.metrics import MAE, RMSE, F1Score, MeanError, Precision, R2Score, Recall, RowCount
from evidently.presets import DataDriftPreset

from reporting.window import NotReportable, Window

DRIFT_METHOD = "wasserstein"
"""How far a column moved, in standard deviations of the reference: one scale for every column and number of rows.

Evidently left to itself changes from a p-value to a distance at 1000 rows. Distances over bins (PSI, Jensen-Shannon)
shrink as the window grows: at thresholds with equal false alarms they saw a shift of 0.5 standard deviations in 45 %
and 62 % of 50-row windows but in 9 % and 20 % of 500-row windows; this one in 85 % and 94 %.
"""

DRIFT_THRESHOLD = 0.4
"""A column has drifted from this distance on.

Measured on breast_cancer (StandardScaler, PCA(10)), reference of 455 rows and window both drawn with replacement from
the same 569 rows, 1000 windows: false alarms per column 1.6 % at 50 rows (worst column 2.5 %), 0.06 % at 100, none
seen in 300 windows of 200 and of 500. Evidently's default of 0.1 would alarm in nearly every 50-row column. On wine and
digits 1.2 % and 1.7 % at 50 rows (worst 3.8 %). At 50 rows 13 % of the windows still show one false column among ten,
hence DRIFT_SHARE.
"""

DRIFT_SHARE = 0.5
"""The data set has drifted when this share of its columns has: 0.2 % of the 50-row windows above, by chance."""


@dataclass(frozen=True)
class ClassificationTask:
    """How the scores are to be read: of one class against the other, or as the mean over the classes."""

    positive: str | None

    @property
    def reading(self) -> str:
        """What F1, recall and precision refer to, for titles."""
        return f"positive class {self.positive}" if self.positive is not None else "macro average"


@dataclass(frozen=True)
class RegressionTask:
    """The scores are errors, in the units of the target."""

    @property
    def reading(self) -> str:
        """What the errors refer to, for titles."""
        return "errors in units of the target"


Task = ClassificationTask | RegressionTask


def task_of(window: Window) -> Task:
    """What the predictions of the window are to be judged by.

    Raises:
        NotReportable: when all targets of the window are equal, since the scores would then be 0 or 1 for no reason; or
            when only two of more classes occur, since Evidently then looks for a positive class.
    """
    targets = window.current["target"].unique()
    if len(targets) < 2:
        raise NotReportable(f"every target in the window is {targets[0]}")
    return RegressionTask() if window.is_quantity else _classification_task(window)


def _classification_task(window: Window) -> ClassificationTask:
    """Two classes make a binary task, with the rarer one in the reference as positive; more make a multiclass task.

    Of two classes equally frequent, the last in sorted order is positive (1, True).
    """
    frequency = window.reference["target"].value_counts()
    occurring = set(window.current["target"]) | set(window.current["prediction"])
    classes = occurring | set(frequency.index)
    if len(classes) > 2 == len(occurring):
        raise NotReportable(f"only {' and '.join(sorted(occurring))} of {len(classes)} classes occur in the window")
    if len(classes) > 2:
        return ClassificationTask(positive=None)
    return ClassificationTask(min(sorted(classes, reverse=True), key=lambda name: int(frequency.get(name, 0))))


def drift_report(window: Window, now: datetime) -> Snapshot:
    """Every feature of the window against the reference, and the share of features that drifted."""
    definition = DataDefinition(numerical_columns=window.features)
    drift = DataDriftPreset(
        columns=window.features, num_method=DRIFT_METHOD, num_threshold=DRIFT_THRESHOLD, drift_share=DRIFT_SHARE
    )
    current, reference = (
        Dataset.from_pandas(frame[window.features], data_definition=definition)
        for frame in (window.current, window.reference)
    )
    # Only drift is a verdict: the tests that Evidently would add for the row count compare it with the reference.
    return Report([drift, RowCount(tests=[])], include_tests=True).run(
        current,
        reference,
        timestamp=now,
        name="Data drift",
        tags=["drift"],
        metadata={"rows": str(len(window.current)), "reference rows": str(len(window.reference))},
    )


def performance_report(window: Window, task: Task, now: datetime) -> Snapshot:
    """The scores of the window's predictions; the reference holds no predictions."""
    if isinstance(task, RegressionTask):
        return _regression_report(window, now)
    return _classification_report(window, task, now)


def _classification_report(window: Window, task: ClassificationTask, now: datetime) -> Snapshot:
    """F1, balanced accuracy, recall and precision of the window's predictions."""
    columns = {"target": "target", "prediction_labels": "prediction"}
    definition = DataDefinition(
        categorical_columns=list(columns.values()),
        classification=[
            MulticlassClassification(**columns)
            if task.positive is None
            else BinaryClassification(**columns, pos_label=task.positive)
        ],
    )
    scores = [F1Score(conf_matrix=False), BalancedAccuracy(), Recall(conf_matrix=False), Precision()]
    support = [] if task.positive is None else [PositiveRows(positive=task.positive)]
    return Report([*support, *scores]).run(
        Dataset.from_pandas(window.current[list(columns.values())], data_definition=definition),
        None,
        timestamp=now,
        name=f"Classification, {task.reading}",
        tags=["classification"],
        metadata={"rows": str(len(window.current)), "scores": task.reading},
    )


def _regression_report(window: Window, now: datetime) -> Snapshot:
    """MAE, RMSE, R² and the mean error of the window's predictions."""
    columns = ["target", "prediction"]
    definition = DataDefinition(numerical_columns=columns, regression=[Regression()])
    return Report([MAE(), RMSE(error_distr=False), MeanError(), R2Score()]).run(
        Dataset.from_pandas(window.current[columns], data_definition=definition),
        None,
        timestamp=now,
        name="Regression",
        tags=["regression"],
        metadata={"rows": str(len(window.current))},
    )


class BalancedAccuracy(SingleValueMetric):
    """The mean of the recalls of the classes that occur as target; Evidently has none of its own."""


class BalancedAccuracyCalculation(SingleValueCalculation[BalancedAccuracy]):
    """Found by Evidently through its type parameter."""

    def display_name(self) -> str:
        return "Balanced accuracy"

    def calculate(
        self, context: Context, current_data: Dataset, reference_data: Dataset | None
    ) -> tuple[SingleValue, SingleValue | None]:
        of_reference = None if reference_data is None else self.result(balanced_accuracy(reference_data.as_dataframe()))
        return self.result(balanced_accuracy(current_data.as_dataframe())), of_reference


class PositiveRows(SingleValueMetric):
    """How many targets are of the positive class: few of them make the scores unsteady."""

    positive: str


class PositiveRowsCalculation(SingleValueCalculation[PositiveRows]):
    """Found by Evidently through its type parameter."""

    def display_name(self) -> str:
        return f"Positive class: {self.metric.positive}"

    def calculate(self, context: Context, current_data: Dataset, reference_data: Dataset | None) -> SingleValue:
        rows = int((current_data.as_dataframe()["target"] == self.metric.positive).sum())
        result = self.result(rows)
        explanation = "targets of this class in the window; F1, recall and precision are about it"
        result.widget = [counter(title=self.display_name(), counters=[CounterData(explanation, str(rows))])]
        return result


def balanced_accuracy(rows: pd.DataFrame) -> float:
    """The share of right predictions in each class of target, averaged over these classes."""
    is_right = rows["prediction"] == rows["target"]
    return float(is_right.groupby(rows["target"]).mean().mean())


def headline(snapshot: Snapshot) -> list[tuple[str, float]]:
    """The numbers of a snapshot that are worth a log line, by name."""
    numbers = []
    for metric in snapshot.dict()["metrics"]:
        name = _HEADLINE.get(metric["config"]["type"].rpartition(":")[2])
        if name:
            value, part = metric["value"], _PARTS.get(name)
            numbers.append((name, float(value[part] if part else value)))
    return numbers


_HEADLINE = {
    "DriftedColumnsCount": "drifted",
    "F1Score": "f1",
    "BalancedAccuracy": "balanced_accuracy",
    "Recall": "recall",
    "Precision": "precision",
    "MAE": "mae",
    "RMSE": "rmse",
    "MeanError": "mean_error",
    "R2Score": "r2",
}
_PARTS = {"drifted": "share", "mae": "mean", "mean_error": "mean"}
