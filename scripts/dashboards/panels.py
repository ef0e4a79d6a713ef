"""How our panels look: a verdict, a number, lines, states over time, cells, bars, a table."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    statushistory,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

GOOD, DOUBTFUL, BAD, NEUTRAL = "green", "orange", "red", "blue"
PROMETHEUS = models.DataSourceRef(type_val="prometheus", uid="prometheus")
# How many points a panel of cells asks for: each is a column that one must be able to see.
CELLS = 60
# And how many rows: the queries choose the thirty worst.
MOST_ROWS = 30

Panel = (
    stat.Panel
    | timeseries.Panel
    | statetimeline.Panel
    | statushistory.Panel
    | bargauge.Panel
    | table.Panel
    | heatmap.Panel
)
P = TypeVar("P", bound=Panel)
Steps = Sequence[tuple[float | None, str]]
Words = dict[int, tuple[str, str]]

YES_IS_BAD: Words = {0: ("no", GOOD), 1: ("yes", BAD)}
YES_IS_GOOD: Words = {0: ("down", BAD), 1: ("up", GOOD)}
ANY_IS_BAD: Steps = ((None, GOOD), (1, BAD))
ALWAYS_NEUTRAL: Steps = ((None, NEUTRAL),)


class Query(NamedTuple):
    """PromQL, and what its series are called."""

    expr: str
    legend: str = ""


def verdict(
    title: str,
    description: str,
    expr: str,
    words: Words,
    *,
    goto: str = "",
    absent: str = "unknown",
    span: int = 4,
    height: int = 4,
) -> stat.Panel:
    """One word on green or red, for a query whose value is a key of ``words``."""
    panel = _tile(title, description, [Query(expr)], goto, absent, span, height)
    return panel.mappings([_mapping(words)]).thresholds(_thresholds(ALWAYS_NEUTRAL))


def verdicts(title: str, description: str, query: Query, words: Words, *, span: int = 4, height: int = 4) -> stat.Panel:
    """The same for each series, beside its name."""
    panel = verdict(title, description, query.expr, words, span=span, height=height)
    return panel.targets([_target(query, 0, now=True)]).text_mode(looks.BigValueTextMode.VALUE_AND_NAME)


def number(
    title: str,
    description: str,
    expr: str,
    unit: str,
    steps: Steps = ALWAYS_NEUTRAL,
    *,
    goto: str = "",
    absent: str = "none",
    span: int = 4,
    height: int = 4,
) -> stat.Panel:
    """The value of this moment, coloured by the ``steps`` that it reaches."""
    return (
        _tile(title, description, [Query(expr)], goto, absent, span, height).unit(unit).thresholds(_thresholds(steps))
    )


def numbers(
    title: str,
    description: str,
    queries: Sequence[Query],
    unit: str,
    steps: Steps = ALWAYS_NEUTRAL,
    *,
    span: int = 4,
    height: int = 4,
) -> stat.Panel:
    """Several values of this moment, each with its name."""
    panel = _tile(title, description, queries, "", "none", span, height).unit(unit).thresholds(_thresholds(steps))
    return panel.text_mode(looks.BigValueTextMode.VALUE_AND_NAME)


def name(
    title: str, description: str, query: Query, *, goto: str = "", absent: str = "none", span: int = 4, height: int = 4
) -> stat.Panel:
    """What the series of this moment is called: a version."""
    panel = _tile(title, description, [query], goto, absent, span, height).thresholds(_thresholds(ALWAYS_NEUTRAL))
    return panel.text_mode(looks.BigValueTextMode.NAME)


def lines(
    title: str,
    description: str,
    queries: Sequence[Query],
    unit: str,
    *,
    limit: float | None = None,
    stacked: bool = False,
    dashed: str = "",
    at_most: float | None = None,
    floor: float | None = 0,
    span: int = 12,
    height: int = 8,
) -> timeseries.Panel:
    """Values over time; ``limit`` is drawn, and bad above it; series whose name matches ``dashed`` are expectations."""
    panel = _panel(timeseries.Panel(), title, description, queries, span=span, height=height)
    panel.unit(unit).line_width(2).fill_opacity(30 if stacked else 8).show_points(looks.VisibilityMode.AUTO)
    panel.legend(_legend()).tooltip(common.VizTooltipOptions().mode(looks.TooltipDisplayMode.MULTI))
    if floor is not None:
        panel.axis_soft_min(floor)
    if at_most is not None:
        panel.axis_soft_max(at_most)
    if stacked:
        panel.stacking(common.StackingConfig().mode(looks.StackingMode.NORMAL))
    if dashed:
        dash = looks.LineStyle(fill="dash", dash=[8, 8])
        panel.override_by_regexp(dashed, [models.DynamicConfigValue("custom.lineStyle", dash)])
    if limit is not None:
        panel.thresholds(_thresholds(((None, "transparent"), (limit, BAD))))
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(looks.GraphThresholdsStyleMode.DASHED))
    return panel


def states(
    title: str, description: str, queries: Sequence[Query], words: Words, *, span: int = 12, height: int = 8
) -> statetimeline.Panel:
    """What was true when."""
    panel = _panel(statetimeline.Panel(), title, description, queries, span=span, height=height)
    panel.mappings([_mapping(words)]).show_value(looks.VisibilityMode.NEVER).row_height(0.8)
    return panel.legend(common.VizLegendOptions().show_legend(False))


def cells(
    title: str,
    description: str,
    query: Query,
    unit: str,
    steps: Steps,
    *,
    at_most: float,
    span: int = 24,
    height: int = 12,
) -> statushistory.Panel:
    """A heat map: a row for each series, a cell for each moment; full colour at ``at_most``."""
    panel = _panel(statushistory.Panel(), title, description, [query], span=span, height=height)
    panel.unit(unit).min(0).max(at_most).decimals(2).thresholds(_thresholds(steps)).max_data_points(CELLS)
    panel.color_scheme(builders.FieldColor().mode(models.FieldColorModeId.CONTINUOUS_GR_YL_RD))
    panel.show_value(looks.VisibilityMode.NEVER).row_height(0.9).per_page(MOST_ROWS)
    return panel.legend(common.VizLegendOptions().show_legend(False))


def bars(
    title: str,
    description: str,
    query: Query,
    unit: str,
    steps: Steps,
    *,
    at_most: float | None = None,
    span: int = 12,
    height: int = 8,
) -> bargauge.Panel:
    """The values of this moment, one below the other."""
    panel = _panel(bargauge.Panel(), title, description, [query], now=True, span=span, height=height)
    panel.unit(unit).min(0).thresholds(_thresholds(steps)).orientation(looks.VizOrientation.HORIZONTAL)
    panel.display_mode(looks.BarGaugeDisplayMode.BASIC).no_value("none").reduce_options(_newest())
    return panel if at_most is None else panel.max(at_most)


def rows(
    title: str, description: str, query: Query, columns: Sequence[str], *, span: int = 12, height: int = 8
) -> table.Panel:
    """A table of the labels of this moment's series."""
    panel = _panel(table.Panel(), title, description, [], span=span, height=height)
    panel.with_target(_target(query, 0, now=True).format(PromQueryFormat.TABLE)).show_header(True).no_value("none")
    wanted = {"include": {"names": list(columns)}}
    return panel.with_transformation(models.DataTransformerConfig(id_val="filterFieldsByName", options=wanted))


def spread(title: str, description: str, expr: str, *, span: int = 12, height: int = 8) -> heatmap.Panel:
    """How the observations of a histogram spread over its buckets, of seconds."""
    panel = _panel(heatmap.Panel(), title, description, [], span=span, height=height)
    panel.with_target(_target(Query(expr, "{{le}}"), 0).format(PromQueryFormat.HEATMAP))
    panel.y_axis(heatmap.YAxisConfig().unit("s")).cell_values(heatmap.CellValues().unit("reqps"))
    return panel.color(
        heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Spectral").steps(64).reverse(False)
    )


def _tile(
    title: str, description: str, queries: Sequence[Query], goto: str, absent: str, span: int, height: int
) -> stat.Panel:
    panel = _panel(stat.Panel(), title, description, queries, now=True, span=span, height=height)
    panel.color_mode(looks.BigValueColorMode.BACKGROUND).graph_mode(looks.BigValueGraphMode.NONE).no_value(absent)
    panel.reduce_options(_newest())
    if goto:
        link = builders.DashboardLink("Look closer").url(f"/d/{goto}?${{__url_time_range}}")
        panel.links([link.type(models.DashboardLinkType.LINK)])
    return panel


def _panel(
    panel: P, title: str, description: str, queries: Iterable[Query], *, span: int, height: int, now: bool = False
) -> P:
    panel.title(title).description(description).span(span).height(height).datasource(PROMETHEUS)
    for position, query in enumerate(queries):
        panel.with_target(_target(query, position, now=now))
    return panel


def _target(query: Query, position: int, *, now: bool = False) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query.expr).ref_id(chr(ord("A") + position)).datasource(PROMETHEUS)
    if query.legend:
        target.legend_format(query.legend)
    return target.instant() if now else target.range()


def _mapping(words: Words) -> models.ValueMap:
    return models.ValueMap({str(value): models.ValueMappingResult(*word) for value, word in words.items()})


def _thresholds(steps: Steps) -> builders.ThresholdsConfig:
    return (
        builders.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value, color) for value, color in steps])
    )


def _newest() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"])


def _legend() -> common.VizLegendOptions:
    legend = common.VizLegendOptions().show_legend(True).placement(looks.LegendPlacement.BOTTOM)
    return legend.display_mode(looks.LegendDisplayMode.LIST)
