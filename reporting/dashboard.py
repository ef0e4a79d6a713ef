"""The dashboard of the project: the history of every snapshot's numbers."""

from uuid import NAMESPACE_URL, uuid5

from evidently.sdk.models import DashboardModel, DashboardPanelPlot, DashboardTabModel, PanelMetric
from evidently.sdk.panels import counter_panel, line_plot_panel

from reporting.reports import DRIFT_SHARE, DRIFT_THRESHOLD


def dashboard(scores: str) -> DashboardModel:
    """All panels on one tab; ``scores`` says what F1, recall and precision refer to.

    Built whole, with fixed identifiers: the same dashboard is the same file, and Evidently's ``add_panel`` lists
    a panel twice.
    """
    panels = _panels(scores)
    for panel in panels:
        panel.id = uuid5(NAMESPACE_URL, f"boucle/reporting/{panel.title}")
    tab = DashboardTabModel(
        id=uuid5(NAMESPACE_URL, "boucle/reporting"), title="Production", panels=[panel.id for panel in panels]
    )
    return DashboardModel(tabs=[tab], panels=panels)


def _panels(scores: str) -> list[DashboardPanelPlot]:
    share = _metric("DriftedColumnsCount", "share drifted", value_type="share")
    f1, recall, precision = (_metric(kind, legend) for kind, legend in _SCORES)
    balanced_accuracy = _metric("BalancedAccuracy", "balanced accuracy")
    rows = _metric("RowCount", "rows")
    return [
        counter_panel("Latest drift report", [share, rows], size="half"),
        counter_panel(f"Latest scores, {scores}", [f1, balanced_accuracy, recall, precision], size="half"),
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
        line_plot_panel("F1 and balanced accuracy", [f1, balanced_accuracy], f"F1: {scores}", size="half"),
        line_plot_panel("Recall and precision", [recall, precision], scores.capitalize(), size="half"),
        line_plot_panel("Rows in the window", [rows], "The latest rows of prod_data.csv that were usable"),
    ]


_SCORES = (("F1Score", "F1"), ("Recall", "recall"), ("Precision", "precision"))


def _metric(kind: str, legend: str, **labels: str) -> PanelMetric:
    return PanelMetric(metric=kind, legend=legend, metric_labels=labels)
