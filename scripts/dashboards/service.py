"""How clients are served: rate, errors, duration, saturation."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from scripts.dashboards.pages import Row, page, variable
from scripts.dashboards.panels import ANY_IS_BAD, BAD, DOUBTFUL, GOOD, Panel, Query, Steps, lines, name, number, spread

# Probes do not count: nobody's work depends on them, and /readyz says 503 on purpose.
CLIENTS = 'route!~"/livez|/readyz|/metrics"'
FAILED_SHARE = (
    f'(sum(rate(boucle_http_requests_total{{status=~"5..",{CLIENTS}}}[5m])) or vector(0))'
    f" / (sum(rate(boucle_http_requests_total{{{CLIENTS}}}[5m])) > 0) or vector(0)"
)
# 0.1 % is the budget; 14.4 times as much is what pages.
FAILED_STEPS: Steps = ((None, GOOD), (0.001, DOUBTFUL), (0.0144, BAD))
P99 = 'histogram_quantile(0.99, sum by (le) (rate(boucle_http_request_seconds_bucket{route="/predict"}[5m])))'
SLOW_SECONDS = 0.05
RATE = "$__rate_interval"


def dashboard() -> Dashboard:
    """Rate, errors and duration by route and by version of the model."""
    content = [
        Row("", _glance()),
        Row("Rate", _rate()),
        Row("Errors", _errors()),
        Row("Duration", _duration()),
        Row("Saturation", _saturation()),
    ]
    choices = [
        variable("route", "Route", "label_values(boucle_http_requests_total, route)", several=True),
        variable("version", "Model version", "label_values(boucle_predictions_total, model_version)", several=True),
    ]
    return page("boucle-service", "Service", "Are clients answered, how fast, and by which version?", content, choices)


def _glance() -> list[Panel]:
    return [
        number(
            "Requests that failed",
            "Share of the clients' requests within five minutes that got a 5xx; 0 also without traffic. Normal: 0 %. "
            "docs/runbooks/ErrorBudgetBurn.md.",
            FAILED_SHARE,
            "percentunit",
            FAILED_STEPS,
        ),
        number(
            "Slowest 1 % of /predict",
            "99 of 100 answers of POST /predict within five minutes took no longer, measured in the server. Normal: a "
            "few milliseconds; above 50 ms: docs/runbooks/LatencyHigh.md.",
            f"{P99} >= 0",  # not a number without traffic
            "s",
            ((None, GOOD), (SLOW_SECONDS / 2, DOUBTFUL), (SLOW_SECONDS, BAD)),
            absent="no traffic",
        ),
        number(
            "Requests a second",
            "Requests that clients had answered, by all replicas together, over the last minute. Normal: as your "
            "traffic is.",
            f"sum(rate(boucle_http_requests_total{{{CLIENTS}}}[1m])) or vector(0)",
            "reqps",
        ),
        number(
            "Under way",
            "Requests that are being answered now, in all workers. Normal: about requests a second times their "
            "duration.",
            "sum(boucle_http_requests_in_flight) or vector(0)",
            "none",
        ),
        number(
            "Predictions not logged",
            "Predictions of the last hour that were answered but lost to the log, because its queue was full. Normal: "
            "0. docs/runbooks/PredictionLogDropping.md.",
            "sum(increase(boucle_prediction_log_dropped_total[1h])) or vector(0)",
            "none",
            ANY_IS_BAD,
        ),
        name(
            "Version that answers most",
            "The model version that gave the most predictions within the last minute. Normal: the champion.",
            Query("topk(1, sum by (model_version) (rate(boucle_predictions_total[1m])) > 0)", "{{model_version}}"),
            goto="boucle-model",
            absent="no traffic",
        ),
    ]


def _rate() -> list[Panel]:
    return [
        lines(
            "Requests by route",
            "Answered requests a second. Normal: as your traffic is.",
            [Query(f'sum by (route) (rate(boucle_http_requests_total{{route=~"$route"}}[{RATE}]))', "{{route}}")],
            "reqps",
        ),
        lines(
            "Predictions by model version",
            "Predictions a second, rows of batches included. Normal: one version, handing over to its successor at a "
            "blue line.",
            [
                Query(
                    f'sum by (model_version) (rate(boucle_predictions_total{{model_version=~"$version"}}[{RATE}]))',
                    "{{model_version}}",
                )
            ],
            "ops",
            stacked=True,
        ),
    ]


def _errors() -> list[Panel]:
    return [
        lines(
            "Server errors by route",
            "Share of a route's requests that got a 5xx: our fault. Normal: 0 %.",
            [Query(_share_by_route("5.."), "{{route}}")],
            "percentunit",
            limit=0.001,
            span=8,
        ),
        lines(
            "Refused requests by route",
            "Share of a route's requests that got a 4xx: the answer names the field and what is allowed. Normal: near "
            "0 %; a step means that a client changed.",
            [Query(_share_by_route("4.."), "{{route}}")],
            "percentunit",
            span=8,
        ),
        lines(
            "Answers by status",
            "Answered requests a second by HTTP status.",
            [Query(f'sum by (status) (rate(boucle_http_requests_total{{route=~"$route"}}[{RATE}]))', "{{status}}")],
            "reqps",
            stacked=True,
            span=8,
        ),
    ]


def _duration() -> list[Panel]:
    chosen = f'sum by (le) (rate(boucle_http_request_seconds_bucket{{route=~"$route",{CLIENTS}}}[{RATE}]))'
    return [
        lines(
            "Time to the answer",
            "Half, 95 and 99 of 100 requests of the chosen routes took no longer, measured in the server.",
            [Query(f"histogram_quantile({q}, {chosen})", legend) for q, legend in _QUANTILES.items()],
            "s",
            limit=SLOW_SECONDS,
        ),
        spread(
            "How the times spread",
            "Requests a second of the chosen routes by how long they took: two bands are two kinds of requests.",
            chosen,
        ),
        lines(
            "Slowest 1 % by route",
            "99 of 100 requests of a route took no longer. Normal: milliseconds for /predict; seconds for big batches.",
            [
                Query(
                    "histogram_quantile(0.99, sum by (le, route) "
                    f'(rate(boucle_http_request_seconds_bucket{{route=~"$route"}}[{RATE}])))',
                    "{{route}}",
                )
            ],
            "s",
        ),
        lines(
            "Time in the model, by version",
            "99 of 100 predictions spent no longer in embedding and model. Normal: well below the time to the answer; "
            "a step at a blue line is the new champion's.",
            [
                Query(
                    "histogram_quantile(0.99, sum by (le, model_version) "
                    f'(rate(boucle_prediction_seconds_bucket{{model_version=~"$version"}}[{RATE}])))',
                    "{{model_version}}",
                )
            ],
            "s",
        ),
    ]


_QUANTILES = {0.5: "half", 0.95: "95 %", 0.99: "99 %"}


def _saturation() -> list[Panel]:
    return [
        lines(
            "Requests under way",
            "Requests that are being answered, by replica. Normal: low and level; it climbs when work comes faster "
            "than it goes.",
            [Query("sum by (instance) (boucle_http_requests_in_flight)", "{{instance}}")],
            "none",
            span=6,
        ),
        lines(
            "Queue of the prediction log",
            "Predictions that were answered and are not yet in the log, and those lost within a minute. Normal: "
            "hundreds at most, none lost.",
            [
                Query("sum(boucle_prediction_log_queue_rows)", "waiting"),
                Query("sum(increase(boucle_prediction_log_dropped_total[1m]))", "lost"),
            ],
            "none",
            span=6,
        ),
        lines(
            "Memory of the workers",
            "What they hold, pages that they share counted for each; dashed: what they may hold. Normal: level. "
            "docs/runbooks/MemoryHigh.md.",
            [
                Query("sum by (instance) (boucle_process_resident_memory_bytes)", "{{instance}}"),
                Query("max(boucle_memory_limit_bytes)", "limit"),
            ],
            "bytes",
            dashed="limit",
            span=6,
        ),
        lines(
            "Feedback",
            "Feedback rows acknowledged a second. Normal: as your labels come.",
            [Query(f"sum(rate(boucle_feedback_total[{RATE}]))", "rows")],
            "ops",
            span=6,
        ),
    ]


def _share_by_route(status: str) -> str:
    wrong = f'sum by (route) (rate(boucle_http_requests_total{{status=~"{status}",route=~"$route"}}[{RATE}]))'
    asked = f'sum by (route) (rate(boucle_http_requests_total{{route=~"$route"}}[{RATE}]))'
    return f"({wrong} or 0 * {asked}) / ({asked} > 0)"
