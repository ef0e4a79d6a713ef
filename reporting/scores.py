"""Scores of answers as Evidently metrics: the mean over the classes that occur, or the errors of a quantity."""

# mypy: disable-error-code="misc"
# evidently ships no py.typed, so that its classes are Any.

from collections.abc import Callable

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from evidently import Dataset
from evidently.core.metric_types import SingleValue, SingleValueCalculation, SingleValueMetric
from evidently.core.report import Context
from evidently.legacy.renderers.html_widgets import CounterData, counter, plotly_figure
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    mean_absolute_error,
    mean_absolute_percentage_error,
    precision_score,
    r2_score,
    recall_score,
    root_mean_squared_error,
)

from reporting.window import PREDICTION, TARGET

# What Evidently offers takes the mean over predicted classes too, needs a positive class when two occur, and has no
# balanced accuracy.
CLASS_SCORES = ("accuracy", "balanced_accuracy", "f1", "precision", "recall")
QUANTITY_SCORES = ("mae", "rmse", "mape", "r2")

TITLES = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "f1": "F1 (mean over classes)",
    "precision": "Precision (mean over classes)",
    "recall": "Recall (mean over classes)",
    "mae": "Mean absolute error",
    "rmse": "Root mean squared error",
    "mape": "Mean absolute percentage error",
    "r2": "R²",
}
MOST_CLASSES = 50


class Score(SingleValueMetric):
    """One score of `CLASS_SCORES` or `QUANTITY_SCORES`."""

    score: str


class ScoreCalculation(SingleValueCalculation[Score]):
    """Found by Evidently through its type parameter."""

    def display_name(self) -> str:
        return TITLES[self.metric.score]

    def calculate(
        self, context: Context, current_data: Dataset, reference_data: Dataset | None
    ) -> tuple[SingleValue, SingleValue | None]:
        now = self.result(score(self.metric.score, current_data.as_dataframe()))
        before = None
        if reference_data is not None:
            before = self.result(score(self.metric.score, reference_data.as_dataframe()))
        counters = [CounterData("newest labels", f"{now.value:.4g}")]
        if before:
            counters.append(CounterData("held-out rows", f"{before.value:.4g}"))
        now.widget = [counter(title=self.display_name(), counters=counters)]
        return now, before


class Confusion(SingleValueMetric):
    """How many answers were wrong, and which class was taken for which."""


class ConfusionCalculation(SingleValueCalculation[Confusion]):
    """Found by Evidently through its type parameter."""

    def display_name(self) -> str:
        return "Wrong answers"

    def calculate(self, context: Context, current_data: Dataset, reference_data: Dataset | None) -> SingleValue:
        rows = current_data.as_dataframe()
        result = self.result(int((rows[TARGET] != rows[PREDICTION]).sum()))
        result.widget = [plotly_figure(title="Confusion matrix", figure=_heat_map(rows))]
        return result


def score(name: str, rows: pd.DataFrame) -> float:
    """The score of the answers in ``rows``; of classes, those that occur as true value count, each as much."""
    rows = rows.dropna(subset=[TARGET, PREDICTION])
    truth, answer = rows[TARGET], rows[PREDICTION]
    if name == "mape":  # a share of nothing is not defined
        truth, answer = truth[truth != 0], answer[truth != 0]
    if not len(truth):
        return float("nan")
    if name in _QUANTITY:
        return float(_QUANTITY[name](truth, answer))
    if name == "accuracy":
        return float(accuracy_score(truth, answer))
    occurring = sorted(truth.unique())
    return float(_CLASS[name](truth, answer, labels=occurring, average="macro", zero_division=0))


_CLASS: dict[str, Callable[..., float]] = {
    "balanced_accuracy": recall_score,
    "f1": f1_score,
    "precision": precision_score,
    "recall": recall_score,
}
_QUANTITY: dict[str, Callable[..., float]] = {
    "mae": mean_absolute_error,
    "rmse": root_mean_squared_error,
    "mape": mean_absolute_percentage_error,
    "r2": r2_score,
}


def _heat_map(rows: pd.DataFrame) -> go.Figure:
    classes = sorted({*rows[TARGET], *rows[PREDICTION]})[:MOST_CLASSES]
    counts = pd.crosstab(rows[TARGET], rows[PREDICTION]).reindex(index=classes, columns=classes, fill_value=0)
    heat = go.Heatmap(
        z=counts.to_numpy(), x=classes, y=classes, texttemplate="%{z}", colorscale="Blues", showscale=False
    )
    figure = go.Figure(heat)
    axis = {"type": "category", "tickvals": np.arange(len(classes)), "ticktext": classes}
    figure.update_xaxes(title="predicted", **axis)
    figure.update_yaxes(title="true", autorange="reversed", **axis)
    return figure
