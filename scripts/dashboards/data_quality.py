"""Are the rows that come such as the contract expects?"""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from scripts.dashboards.pages import Row, page
from scripts.dashboards.panels import BAD, DOUBTFUL, GOOD, MOST_ROWS, Panel, Query, Steps, cells, lines, number
from scripts.dashboards.service import RATE

PROBLEMS = {
    "missing": ("Missing values", "are missing"),
    "out_of_range": ("Out of range", "lie below or above everything that the reference shows"),
    "new_category": ("New categories", "are of a category that the reference never showed"),
}
SERVED = 'on () group_left () max(boucle_window_rows{window="served"})'
SHARES: Steps = ((None, GOOD), (0.05, DOUBTFUL), (0.2, BAD))


def dashboard() -> Dashboard:
    """What is odd about the newest predictions' rows, by column and by kind."""
    content = [Row("", _glance()), Row("Columns", _columns()), Row("Requests and rows", _requests())]
    return page("boucle-data-quality", "Data quality", "Are the rows that come such as the model knows?", content)


def _glance() -> list[Panel]:
    return [
        number(
            "Worst column",
            "Share of the newest 500 predictions in which the worst column is missing, out of range or of a new "
            "category. Normal: a few per cent. docs/runbooks/DataQuality.md.",
            f"max(sum by (column) (boucle_data_quality_cells) / {SERVED}) or vector(0)",
            "percentunit",
            SHARES,
        ),
        *(
            number(
                title,
                f"Values of the newest 500 predictions that {what}, in all columns. Normal: as in the reference. "
                "docs/runbooks/DataQuality.md.",
                f'sum(boucle_data_quality_cells{{problem="{problem}"}}) or vector(0)',
                "none",
            )
            for problem, (title, what) in PROBLEMS.items()
        ),
        number(
            "Refused within an hour",
            "Requests for predictions that were refused (4xx): the answer names the field, the value and what is "
            "allowed. Normal: near 0.",
            'sum(increase(boucle_http_requests_total{route=~"/predict.*",status=~"4.."}[1h])) or vector(0)',
            "none",
            ((None, GOOD), (1, DOUBTFUL)),
        ).decimals(0),
        number(
            "Last prediction",
            "Time since the last prediction in the log: the numbers are as old. Normal: as your traffic is.",
            "min(boucle_prediction_age_seconds)",
            "s",
        ),
    ]


def _columns() -> list[Panel]:
    return [
        cells(
            "Which columns, since when",
            "Share of the newest 500 predictions in which a column is odd: green none, red one in five and more. "
            "Columns without anything odd are not shown; the 30 worst of this range are. "
            "docs/runbooks/DataQuality.md.",
            Query(
                f"sum by (column) (boucle_data_quality_cells) / {SERVED} and on (column) topk({MOST_ROWS}, "
                "max by (column) (max_over_time(boucle_data_quality_cells[$__range] @ end())))",
                "{{column}}",
            ),
            "percentunit",
            SHARES,
            at_most=0.2,
        ),
        lines(
            "Odd values by kind",
            "Values of the newest 500 predictions, in all columns. Normal: level; a step is a change at the source.",
            [
                Query(f'sum(boucle_data_quality_cells{{problem="{problem}"}}) or vector(0)', title.lower())
                for problem, (title, _) in PROBLEMS.items()
            ],
            "none",
        ),
        lines(
            "Columns with anything odd",
            "How many of the columns show something odd. Normal: level.",
            [Query("count(sum by (column) (boucle_data_quality_cells)) or vector(0)", "columns")],
            "none",
        ),
    ]


def _requests() -> list[Panel]:
    refused = (
        f'sum by (route) (rate(boucle_http_requests_total{{route=~"/predict.*|/feedback",status=~"4.."}}[{RATE}]))'
    )
    return [
        lines(
            "Refused requests",
            "Requests a second that the contract refused, by route. Normal: near 0; a step means that a client "
            "changed.",
            [Query(f"{refused} or vector(0)", "{{route}}")],
            "reqps",
        ),
        lines(
            "Rows behind these numbers",
            "The newest predictions that were looked at. Normal: 500 (monitoring.window).",
            [Query('max(boucle_window_rows{window="served"})', "rows")],
            "none",
        ),
    ]
