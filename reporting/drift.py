"""The observation's drift as a method of Evidently's: its reports show the numbers that every other display shows."""

# mypy: disable-error-code="misc"
# evidently ships no py.typed, so that its classes are Any.

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
import plotly.express as px
from evidently import Dataset
from evidently.core.metric_types import SingleValue, SingleValueCalculation, SingleValueMetric
from evidently.core.report import Context
from evidently.legacy.calculations.stattests import StatTest, register_stattest
from evidently.legacy.core import ColumnType
from evidently.legacy.renderers.html_widgets import CounterData, counter, plotly_figure

from reporting.window import PREDICTION, TARGET

METHOD = "boucle"

_sizes: dict[str, tuple[float, bool]] = {}
_shares: list[float] = []


@contextmanager
def shown(drift: dict[str, Any]) -> Iterator[None]:
    """While in here, reports with the method `METHOD` show this drift, as GET /monitoring answers it."""
    for column in drift["columns"]:  # the farthest comes first: of a column that moved, and that is missing more often
        size, drifted = _sizes.get(column["column"], (column["size"], False))
        _sizes[column["column"]] = size, drifted or column["drifted"]
    for name, of in ((PREDICTION, drift["prediction"]), (TARGET, drift["target"])):
        if of:
            _sizes[name] = of["size"], of["drifted"]
    _shares.append(drift["share"])
    try:
        yield
    finally:
        _sizes.clear()
        _shares.clear()


def _seen(_: pd.Series, current: pd.Series, __: str, ___: float) -> tuple[float, bool]:
    return _sizes[str(current.name)]


class DriftShare(SingleValueMetric):
    """The share of all columns that drifted, also of those that a report leaves out; its history is one line.

    Evidently's own count begins a new line whenever the columns, or only their order, change.
    """


class DriftShareCalculation(SingleValueCalculation[DriftShare]):
    """Found by Evidently through its type parameter."""

    def display_name(self) -> str:
        return "Share of drifted columns"

    def calculate(self, context: Context, current_data: Dataset, reference_data: Dataset | None) -> SingleValue:
        result = self.result(_shares[-1])
        result.widget = [
            counter(title=self.display_name(), counters=[CounterData("of all columns", f"{_shares[-1]:.0%}")])
        ]
        return result


class TargetDrift(SingleValueMetric):
    """How far the true values moved from the reference: a metric of its own, beside the scores of the same rows."""


class TargetDriftCalculation(SingleValueCalculation[TargetDrift]):
    """Found by Evidently through its type parameter."""

    def display_name(self) -> str:
        return "Target drift"

    def calculate(self, context: Context, current_data: Dataset, reference_data: Dataset | None) -> SingleValue:
        size, drifted = _sizes[TARGET]
        result = self.result(size)
        verdict = "standard deviations: drifted" if drifted else "standard deviations: no drift"
        result.widget = [counter(title=self.display_name(), counters=[CounterData(verdict, f"{size:.2f}")])]
        if reference_data is not None:
            sides = {"held-out rows": reference_data, "newest labels": current_data}
            result.widget.append(plotly_figure(title="True values", figure=_histogram(sides)))
        return result


def _histogram(sides: dict[str, Dataset]) -> Any:  # plotly's figure, which it does not type
    rows = pd.concat([data.as_dataframe()[[TARGET]].assign(rows=name) for name, data in sides.items()])
    return px.histogram(
        rows, x=TARGET, color="rows", barmode="group", histnorm="percent", labels={TARGET: "true value"}
    )


register_stattest(
    StatTest(
        name=METHOD,
        display_name="Standard deviations beyond chance (Boucle)",
        allowed_feature_types=[ColumnType.Numerical, ColumnType.Categorical],
        default_threshold=0.25,
    ),
    _seen,
)
