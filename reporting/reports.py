"""An observation and its rows in, Evidently snapshots out: drift, data quality, and how good the answers were."""

# mypy: disable-error-code="misc"
# evidently ships no py.typed, so that its classes are Any.

from datetime import datetime
from typing import Any

import pandas as pd
from evidently import DataDefinition, Dataset, Regression, Report
from evidently.core.report import Snapshot
from evidently.metrics import (
    DatasetMissingValueCount,
    MeanError,
    MissingValueCount,
    OutListValueCount,
    OutRangeValueCount,
    RowCount,
    ValueDrift,
)
from evidently.presets import DataDriftPreset

from reporting.drift import METHOD, DriftShare, TargetDrift, shown
from reporting.scores import CLASS_SCORES, QUANTITY_SCORES, Confusion, Score
from reporting.window import PREDICTION, TARGET, Window

# Each is a plot in a page that a browser must hold.
MOST_COLUMNS = 50


def snapshots(window: Window, now: datetime) -> list[Snapshot]:
    """All reports on one observation; those on answers once there are some."""
    found = [drift_report(window, now), data_quality_report(window, now)]
    if window.observation["quality"]:
        found.append(performance_report(window, now))
    return found


def drift_report(window: Window, now: datetime) -> Snapshot:
    """The served rows against the reference: every column, and the predictions."""
    drift = window.observation["drift"]
    farthest = list(dict.fromkeys(column["column"] for column in drift["columns"]))[:MOST_COLUMNS]
    columns = [name for name in window.features if name in farthest]
    preset = DataDriftPreset(
        columns=columns, method=METHOD, threshold=drift["effect"], drift_share=drift["share_limit"]
    )
    # Only drift is a verdict: the tests that Evidently would add for the row count compare it with the reference.
    metrics = [preset, DriftShare(), RowCount(tests=[])]
    if drift["prediction"]:
        metrics.insert(1, ValueDrift(column=PREDICTION, method=METHOD, threshold=drift["effect"]))
    with shown(drift):
        return _run(metrics, window, "Data drift", "drift", now, window.served, window.reference, include_tests=True)


def data_quality_report(window: Window, now: datetime) -> Snapshot:
    """The served rows: values that are missing, out of the reference's range, or categories that it never showed."""
    metrics: list[Any] = [RowCount(tests=[]), DatasetMissingValueCount(tests=[])]
    for one in window.observation["data_quality"][:MOST_COLUMNS]:
        column = one["column"]
        if one["missing"]:
            metrics.append(MissingValueCount(column=column, tests=[]))
        if one["out_of_range"]:
            metrics.append(OutRangeValueCount(column=column, left=one["minimum"], right=one["maximum"], tests=[]))
        if one["new_category"]:
            metrics.append(OutListValueCount(column=column, values=one["categories"], tests=[]))
    return _run(metrics, window, "Data quality", "quality", now, window.served, None)


def performance_report(window: Window, now: datetime) -> Snapshot:
    """The scores of the labelled rows' answers, beside the champion's own on held-out rows; and their true values."""
    metrics: list[Any]
    if window.is_quantity:
        metrics = [*(Score(score=name) for name in QUANTITY_SCORES), MeanError()]
        name, tag = "Regression", "regression"
    else:
        metrics = [*(Score(score=name) for name in CLASS_SCORES), Confusion()]
        name, tag = "Classification", "classification"
    drift = window.observation["drift"]
    if drift["target"]:
        metrics.append(TargetDrift())
    held_out = window.held_out if len(window.held_out) else None
    with shown(drift):
        return _run([RowCount(tests=[]), *metrics], window, name, tag, now, window.labelled, held_out)


def _run(
    metrics: list[Any],
    window: Window,
    name: str,
    tag: str,
    now: datetime,
    current: pd.DataFrame,
    reference: pd.DataFrame | None,
    *,
    include_tests: bool = False,
) -> Snapshot:
    metadata = {"rows": str(len(current)), "model": window.observation["model_version"]}
    return Report(metrics, include_tests=include_tests).run(
        _dataset(window, current),
        None if reference is None else _dataset(window, reference),
        timestamp=now,
        name=name,
        tags=[tag],
        metadata=metadata,
    )


def _dataset(window: Window, frame: pd.DataFrame) -> Dataset:
    answers = [TARGET, PREDICTION]
    definition = DataDefinition(
        numerical_columns=[*window.numbers, *(answers if window.is_quantity else [])],
        categorical_columns=[*window.categories, *([] if window.is_quantity else answers)],
        regression=[Regression(target=TARGET, prediction=PREDICTION)] if window.is_quantity else None,
    )
    return Dataset.from_pandas(frame, data_definition=definition)


def headline(window: Window) -> dict[str, float]:
    """The numbers of an observation that are worth a log line, by name."""
    return {"drifted": window.observation["drift"]["share"], **window.observation["quality"]}
