"""The dashboard of the project: the history of every snapshot's numbers."""

from uuid import NAMESPACE_URL, uuid5

from evidently.sdk.models import DashboardModel, DashboardPanelPlot, DashboardTabModel, PanelMetric
from evidently.sdk.panels import counter_panel, line_plot_panel

from reporting.window import PREDICTION


def dashboard(*, is_quantity: bool) -> DashboardModel:
    """All panels on one tab, each with the scores that suit the target.

    Built whole, with fixed identifiers: the same dashboard is the same file, and Evidently's ``add_panel`` lists
    a panel twice.
    """
    panels = _panels(is_quantity=is_quantity)
    for panel in panels:
        panel.id = uuid5(NAMESPACE_URL, f"boucle/reporting/{panel.title}")
    tab = DashboardTabModel(
        id=uuid5(NAMESPACE_URL, "boucle/reporting"), title="Production", panels=[panel.id for panel in panels]
    )
    return DashboardModel(tabs=[tab], panels=panels)


def _panels(*, is_quantity: bool) -> list[DashboardPanelPlot]:
    share = _metric("DriftShare", "share drifted")
    rows = _metric("RowCount", "rows")
    latest, histories = _of_quantities() if is_quantity else _of_classes()
    return [
        counter_panel("Latest drift report", [share, rows], size="half"),
        latest,
        line_plot_panel("Share of drifted columns", [share], "Newest predictions against the reference", size="half"),
        line_plot_panel(
            "Distance to the reference, by column",
            [_metric("ValueDrift", "{{column}}")],
            "In standard deviations beyond chance; drift from monitoring.effect on",
            size="half",
        ),
        *histories,
        # Two panels: a line breaks wherever a metric of another report stands.
        line_plot_panel(
            "Drift of the predictions",
            [_metric("ValueDrift", "predictions", column=PREDICTION)],
            "Distance to the champion's predictions of the reference, in standard deviations beyond chance",
            size="half",
        ),
        line_plot_panel(
            "Drift of the true values",
            [_metric("TargetDrift", "true values")],
            "Distance to those of the reference, in standard deviations beyond chance",
            size="half",
        ),
        line_plot_panel(
            "Data quality",
            [
                _metric("DatasetMissingValueCount", "missing values", value_type="count"),
                _metric("OutRangeValueCount", "out of range: {{column}}", value_type="count"),
                _metric("OutListValueCount", "new category: {{column}}", value_type="count"),
            ],
            "Values of the newest predictions that the reference never showed",
        ),
    ]


def _of_classes() -> tuple[DashboardPanelPlot, list[DashboardPanelPlot]]:
    """The latest scores, and their histories."""
    accuracy, balanced = _score("accuracy"), _score("balanced_accuracy", "balanced accuracy")
    f1, recall, precision = _score("f1", "F1"), _score("recall"), _score("precision")
    reading = "Of the newest labels; the mean over the classes"
    return counter_panel("Latest scores", [f1, balanced, recall, precision], size="half"), [
        line_plot_panel("F1, accuracy and balanced accuracy", [f1, accuracy, balanced], reading, size="half"),
        line_plot_panel("Recall and precision", [recall, precision], reading, size="half"),
    ]


def _of_quantities() -> tuple[DashboardPanelPlot, list[DashboardPanelPlot]]:
    mae, rmse, mape, r2 = _score("mae", "MAE"), _score("rmse", "RMSE"), _score("mape", "MAPE"), _score("r2", "R²")
    return counter_panel("Latest scores", [mae, rmse, mape, r2], size="half"), [
        line_plot_panel("MAE and RMSE", [mae, rmse], "Of the newest labels, in units of the target", size="half"),
        line_plot_panel("MAPE and R²", [mape, r2], "Of the newest labels", size="half"),
    ]


def _score(name: str, legend: str = "") -> PanelMetric:
    return _metric("Score", legend or name, score=name)


def _metric(kind: str, legend: str, **labels: str) -> PanelMetric:
    return PanelMetric(metric=kind, legend=legend, metric_labels=labels)
