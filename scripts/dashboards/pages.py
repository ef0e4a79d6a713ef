"""How our dashboards are put together: rows of panels, links, variables, the champion's changes."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import dashboard as models

from scripts.dashboards.panels import PROMETHEUS, Panel

TAG = "boucle"
WEBAPP, REPORTS, MLFLOW = "http://localhost:8081", "http://localhost:8082", "http://localhost:5000"


class Row(NamedTuple):
    """Panels under a heading, in the order of reading; the first row of a dashboard has none."""

    title: str
    panels: Sequence[Panel]


class Changes(models.AnnotationQuery):
    """An annotation by a query of Prometheus: the SDK knows only Grafana's own kind."""

    def to_json(self) -> dict[str, object]:
        """As Grafana's data source for Prometheus reads it."""
        query = {"expr": self.expr, "refId": "Anno", "interval": "", "datasource": PROMETHEUS}
        words = {"titleFormat": "Champion {{version}}", "textFormat": "{{algorithm}}, after {{previous}}"}
        # The value is the moment of the promotion: exact at every zoom, and a restart of the exporter is no change.
        return {**super().to_json(), "target": query, "useValueForTime": True, "tagKeys": "version", **words}


class ChangesOfChampion(builders.AnnotationQuery):
    """When which version came into service."""

    def __init__(self) -> None:
        """A blue line at each."""
        self._internal = Changes(name="Champion changes", datasource=PROMETHEUS, icon_color="blue")
        self._internal.expr = (
            "1000 * round(timestamp(boucle_champion_age_seconds) - boucle_champion_age_seconds)"
            " * on (instance) group_right () boucle_champion_info"
        )


def page(
    uid: str, title: str, description: str, content: Sequence[Row], variables: Sequence[builders.QueryVariable] = ()
) -> builders.Dashboard:
    """A dashboard that shows the last hour, follows the present, and is not edited by hand."""
    built = builders.Dashboard(f"Boucle: {title}").uid(uid).description(description).tags([TAG])
    built.timezone("browser").time("now-1h", "now").refresh("10s").readonly()
    built.tooltip(models.DashboardCursorSync.CROSSHAIR)
    for link in _links():
        built.link(link)
    built.variables(list(variables)).annotation(ChangesOfChampion())
    _fill(built, content)
    return built


def variable(name: str, label: str, query: str, *, several: bool = False) -> builders.QueryVariable:
    """A choice among the values of a label; of ``several``, all are chosen at first."""
    chosen = builders.QueryVariable(name).label(label).datasource(PROMETHEUS)
    chosen.query({"query": query, "refId": "values", "qryType": 1})  # 1: values of a label
    chosen.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(models.VariableSort.ALPHABETICAL_ASC)
    if several:
        everything = models.VariableOption(selected=True, text="All", value="$__all")
        chosen.multi(True).include_all(True).all_value(".*").current(everything)
    return chosen


def _fill(built: builders.Dashboard, content: Sequence[Row]) -> None:
    numbers = itertools.count(1)
    for row in content:
        if row.title:
            built.with_row(builders.Row(row.title).id(next(numbers)))
        for panel in row.panels:
            built.with_panel(panel.id(next(numbers)))


def _links() -> list[builders.DashboardLink]:
    others = builders.DashboardLink("Boucle").type(models.DashboardLinkType.DASHBOARDS).tags([TAG])
    others.include_vars(False).keep_time(True).as_dropdown(False)
    elsewhere = {"Webapp": WEBAPP, "Evidently": REPORTS, "MLflow": MLFLOW}
    return [
        others,
        *(
            builders.DashboardLink(title)
            .type(models.DashboardLinkType.LINK)
            .url(url)
            .icon("external link")
            .target_blank(True)
            for title, url in elsewhere.items()
        ),
    ]
