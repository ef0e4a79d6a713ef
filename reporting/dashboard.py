"""The dashboard of the project: the history of every snapshot's numbers."""

from uuid import NAMESPACE_URL, uuid5

from evidently.sdk.models import DashboardModel, DashboardPanelPlot, DashboardTabModel, PanelMetric
from evidently.sdk.panels import counter_panel, line_plot_panel

from reporting.reports import DRIFT_SHARE, DRIFT_THRESHOLD, RegressionTask, Task


def dashboard(task: Task | None) -> DashboardModel:
    """All panels on one tab; those of the scores once the task is known.

    Built whole, with fixed identifiers: the same dashboard is the same file, and Evidently's ``add_panel`` lists
    a panel twice.
    """
    panels = _panels(task)
    for panel in panels:
        panel.id = uuid5(NAMESPACE_URL, f"boucle/reporting/{panel.title}")
    tab = DashboardTabModel(
        id=uuid5(NAMESPACE_URL, "boucle/reporting"), title="Production", panels=[panel.id for panel in panels]
    )
    return DashboardModel(tabs=[tab], panels=panels)


def _panels(task: Task | None) -> list[DashboardPanelPlot]:
    share = _metric("DriftedColumnsCount", "share drifted", value_type="share")
    rows = _metric("RowCount", "rows")
    latest, histories = _score_panels(task)
    return [
        counter_panel("Latest drift report", [share, rows], size="half"),
        *latest,
        line_plot_panel(
            "Share of drifted columns",
            [share],
            f"The data set has drifted from {DRIFT_SHARE:.0%} of its columns on",
            size="half",
        ),
        line_plot_panel(
            "Distance to the reference, by column",
            [_metric("ValueDrift", "{{column}}")],
            f"Wasserstein distance in standard deviations of the reference; drift from {DRIFT_THRESHOLD} on",
            size="half",
        ),
        *histories,
        line_plot_panel("Rows in the window", [rows], "The latest rows of prod_data.csv that were usable"),
    ]


def _score_panels(task: Task | None) -> tuple[list[DashboardPanelPlot], list[DashboardPanelPlot]]:
    """The latest scores, and their histories."""
    if task is None:
        return [], []
    title = f"Latest scores, {task.reading}"
    if isinstance(task, RegressionTask):
        mae, mean_error = (_metric(kind, legend, value_type="mean") for kind, legend in _MEAN_ERRORS)
        rmse, r2 = _metric("RMSE", "RMSE"), _metric("R2Score", "R²")
        return [counter_panel(title, [mae, rmse, mean_error, r2], size="half")], [
            line_plot_panel("MAE and RMSE", [mae, rmse], task.reading.capitalize(), size="half"),
            line_plot_panel("Mean error", [mean_error], "Above 0 the predictions are too high", size="half"),
        ]
    f1, recall, precision = (_metric(kind, legend) for kind, legend in _SCORES)
    balanced_accuracy = _metric("BalancedAccuracy", "balanced accuracy")
    return [counter_panel(title, [f1, balanced_accuracy, recall, precision], size="half")], [
        line_plot_panel("F1 and balanced accuracy", [f1, balanced_accuracy], f"F1: {task.reading}", size="half"),
        line_plot_panel("Recall and precision", [recall, precision], task.reading.capitalize(), size="half"),
    ]


_MEAN_ERRORS = (("MAE", "MAE"), ("MeanError", "mean error"))
_SCORES = (("F1Score", "F1"), ("Recall", "recall"), ("Precision", "precision"))


def _metric(kind: str, legend: str, **labels: str) -> PanelMetric:
    return PanelMetric(metric=kind, legend=legend, metric_labels=labels)
