"""An observation as Prometheus metrics: name, unit, labels."""

from collections.abc import Iterable, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric

from boucle.etl.status import SourceStatus
from boucle.monitoring.observation import ColumnDrift, Distance, Drift, Observation

# A data set may have a thousand columns, and every label value is a series that Prometheus keeps for ever.
MOST_COLUMNS = 100


def gauge(name: str, help_text: str, value: float | None) -> list[Metric]:
    """One number, or nothing if there is none."""
    return by_label(name, help_text, (), {} if value is None else {(): value})


def by_label(name: str, help_text: str, labels: Iterable[str], values: Mapping[tuple[str, ...], float]) -> list[Metric]:
    """One number for each combination of label values; nothing if there is none."""
    family = GaugeMetricFamily(name, help_text, labels=tuple(labels))
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return [family] if values else []


def of_loads(loads: Mapping[str, SourceStatus]) -> list[Metric]:
    """What `boucle etl` has done with each source so far."""
    rows: dict[tuple[str, ...], float] = {}
    done: dict[tuple[str, ...], float] = {}
    newest: dict[tuple[str, ...], float] = {}
    for source, status in loads.items():
        rows[source, "loaded"] = status.loaded
        rows[source, "quarantined"] = status.quarantined
        rows[source, "superseded"] = status.superseded
        if status.succeeded_at:
            done[source,] = status.succeeded_at.timestamp()
        if status.newest_at:
            newest[source,] = status.newest_at.timestamp()
    return [
        *by_label("boucle_etl_rows", "Rows of a source by what became of them.", ["source", "outcome"], rows),
        *by_label("boucle_etl_success_timestamp_seconds", "When a load last went well.", ["source"], done),
        *by_label("boucle_etl_newest_row_timestamp_seconds", "The newest row's own time.", ["source"], newest),
        *by_label(
            "boucle_etl_failed",
            "1 when the last load of the source failed.",
            ["source"],
            {(source,): float(status.error is not None) for source, status in loads.items()},
        ),
        *by_label(
            "boucle_etl_stale",
            "1 when the last load found the newest row older than max_age_hours.",
            ["source"],
            {(source,): float(status.is_stale) for source, status in loads.items()},
        ),
    ]


def of_observation(seen: Observation) -> list[Metric]:
    """Everything that an observation says."""
    return [
        *by_label(
            "boucle_window_rows",
            "Production rows behind the numbers: the newest predictions, the newest feedback.",
            ["window"],
            {("served",): seen.served.rows, ("labelled",): seen.labelled.rows},
        ),
        *_quality(seen),
        *(of_drift(seen.drift) if seen.drift else []),
        *_data(seen),
    ]


def _quality(seen: Observation) -> list[Metric]:
    return [
        *by_label(
            "boucle_model_quality",
            "Scores of the answers whose labels came last; of classes, the mean over the classes.",
            ["metric"],
            _labelled(seen.quality),
        ),
        *by_label(
            "boucle_model_quality_expected",
            "The champion's scores on held-out rows.",
            ["metric"],
            _labelled(seen.expected),
        ),
        *gauge(
            "boucle_quality_fallen",
            "1 when the answers are worse than on held-out rows, by more than triggers.metric.drop and beyond chance.",
            float(seen.complaint is not None),
        ),
        *gauge(
            "boucle_model_estimated_accuracy",
            "Share of right answers to expect among the newest predictions, before their labels come.",
            seen.estimated_accuracy,
        ),
    ]


def of_drift(drift: Drift) -> list[Metric]:
    """What moved, and how far."""
    columns: dict[tuple[str, ...], ColumnDrift] = {}
    for column in drift.columns[:MOST_COLUMNS]:
        columns.setdefault((column.column,), column)  # the farthest comes first
    changed = drift.concept
    return [
        *by_label(
            "boucle_drift_size",
            "How far a column moved from the reference, in standard deviations beyond chance.",
            ["column"],
            {label: column.size for label, column in columns.items()},
        ),
        *by_label(
            "boucle_column_drifted",
            "1 when the column moved by monitoring.effect, and not by chance.",
            ["column"],
            {label: float(column.drifted) for label, column in columns.items()},
        ),
        *gauge("boucle_drifted_columns_ratio", "Share of the columns that drifted.", drift.share),
        *gauge("boucle_data_drifted", "1 when monitoring.share of the columns drifted.", float(drift.drifted)),
        *gauge(
            "boucle_joint_drift_auc",
            "How well a classifier tells production from the reference: 0.5 not at all, 1 without error.",
            drift.joint.auc if drift.joint else None,
        ),
        *gauge(
            "boucle_joint_drifted",
            "1 when it tells them apart beyond chance.",
            float(drift.joint.drifted) if drift.joint else None,
        ),
        *_distance("prediction", "the predictions", drift.prediction),
        *_distance("target", "the true values", drift.target),
        *gauge(
            "boucle_concept_drifted",
            "1 when the error of the answers changed among the newest labels.",
            float(changed.changed) if changed else None,
        ),
    ]


def _distance(name: str, what: str, distance: Distance | None) -> list[Metric]:
    return [
        *gauge(
            f"boucle_{name}_drift_size",
            f"How far {what} moved from the reference, in standard deviations beyond chance.",
            distance.size if distance else None,
        ),
        *gauge(
            f"boucle_{name}_drifted",
            f"1 when {what} moved by monitoring.effect, and not by chance.",
            float(distance.drifted) if distance else None,
        ),
    ]


def _data(seen: Observation) -> list[Metric]:
    problems: dict[tuple[str, ...], float] = {
        (one.column, problem): float(count)
        for one in seen.data_quality[:MOST_COLUMNS]
        for problem in ("missing", "out_of_range", "new_category")
        if (count := getattr(one, problem))
    }
    is_quantity = "mae" in seen.expected
    return [
        *by_label(
            "boucle_data_quality_cells",
            "Values of the newest predictions that are missing, or that the reference never showed.",
            ["column", "problem"],
            problems,
        ),
        *by_label(
            "boucle_prediction_value" if is_quantity else "boucle_prediction_ratio",
            "Quantiles of the newest predictions."
            if is_quantity
            else "Share of each class among the newest predictions.",
            ["quantile" if is_quantity else "class"],
            _labelled(seen.predictions),
        ),
        *by_label(
            "boucle_label_delay_seconds",
            "How long the newest feedback came after its prediction.",
            ["quantile"],
            _labelled(seen.labels.delay_seconds),
        ),
        *gauge(
            "boucle_label_coverage_ratio",
            "Share of the newest predictions whose true value came.",
            seen.labels.coverage,
        ),
    ]


def _labelled(values: Mapping[str, float]) -> dict[tuple[str, ...], float]:
    return {(name,): value for name, value in values.items()}
