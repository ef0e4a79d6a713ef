"""Is everything well? The page that Grafana opens with."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from scripts.dashboards.model import FALLEN
from scripts.dashboards.pages import Row, page
from scripts.dashboards.panels import (
    ANY_IS_BAD,
    BAD,
    GOOD,
    YES_IS_GOOD,
    Panel,
    Query,
    lines,
    name,
    number,
    numbers,
    rows,
    states,
    verdict,
    verdicts,
)
from scripts.dashboards.service import FAILED_SHARE, FAILED_STEPS


def dashboard() -> Dashboard:
    """The stack at a glance, with a way to each of the other pages."""
    content = [Row("", _glance()), Row("Parts", _parts()), Row("Versions", _versions()), Row("Room and cost", _room())]
    return page("boucle-stack", "Stack", "Is everything well, and if not, which page says more?", content)


def _glance() -> list[Panel]:
    return [
        verdict(
            "API",
            "Whether at least one replica of serving answers Prometheus. Normal: answers. "
            "Else nobody gets a prediction: docs/runbooks/ApiDown.md.",
            '(sum(up{job="serving-api"}) > bool 0) or vector(0)',
            {0: ("DOWN", BAD), 1: ("answers", GOOD)},
            goto="boucle-service",
        ),
        number(
            "Requests that failed",
            "Share of the clients' requests within five minutes that got a 5xx; 0 also without traffic. Normal: 0 %. "
            "0.1 % is what we allow ourselves over 30 days: docs/runbooks/ErrorBudgetBurn.md.",
            FAILED_SHARE,
            "percentunit",
            FAILED_STEPS,
            goto="boucle-service",
        ),
        verdict(
            "Quality of the model",
            "Whether the answers whose labels came last are worse than on held-out rows, by more than "
            "triggers.metric.drop and beyond chance. Normal: as expected. docs/runbooks/QualityFallen.md.",
            FALLEN,
            {0: ("as expected", GOOD), 1: ("FALLEN", BAD)},
            goto="boucle-model",
            absent="no labels yet",
        ),
        verdict(
            "Data",
            "Whether monitoring.share of the columns (30 % by default) moved away from the reference. Normal: as in "
            "the reference. docs/runbooks/DataDrift.md.",
            "max(boucle_data_drifted)",
            {0: ("as in the reference", GOOD), 1: ("DRIFTED", BAD)},
            goto="boucle-model",
            absent="too few rows yet",
        ),
        number(
            "Training runs that failed",
            "Runs that failed since the last one that did not. Normal: 0. docs/runbooks/TrainingFailed.md.",
            "max(boucle_training_failures_in_a_row)",
            "none",
            ANY_IS_BAD,
            goto="boucle-training",
            absent="unknown",
        ),
        number(
            "Alerts that fire",
            "Alerts of Prometheus that fire now. Normal: 0. Each is in the table below, and has a page in "
            "docs/runbooks/.",
            'count(ALERTS{alertstate="firing"}) or vector(0)',
            "none",
            ANY_IS_BAD,
        ),
    ]


def _parts() -> list[Panel]:
    return [
        verdicts(
            "Who answers Prometheus",
            "Each kind of process with metrics; down when one of its replicas is, or when all went away within the "
            "hour. Normal: all up.",
            Query("min by (job) (up) or 0 * max by (job) (max_over_time(up[1h]))", "{{job}}"),
            YES_IS_GOOD,
            span=8,
        ),
        verdicts(
            "Who else answers",
            "The parts without metrics: whether each answers the exporter's question for its health. Normal: all up. "
            "The trainer answers nobody: whether it works, Training says.",
            Query("min by (part) (boucle_part_up)", "{{part}}"),
            YES_IS_GOOD,
            span=8,
        ),
        verdicts(
            "What the exporter reads",
            "Whether the store (database) and the artifacts answer the exporter. Normal: both up. "
            "docs/runbooks/StoreDown.md.",
            Query("min by (source) (boucle_exporter_source_up)", "{{source}}"),
            YES_IS_GOOD,
        ),
        verdict(
            "Files of the champion",
            "Whether the champion's files have the hashes that its manifest promises. Normal: intact. Else serving "
            "keeps the version that it has: docs/runbooks/ChampionBroken.md.",
            "max(boucle_champion_intact)",
            {0: ("BROKEN", BAD), 1: ("intact", GOOD)},
        ),
        states(
            "Who answered when",
            "Each process, over time. Normal: one unbroken green bar each.",
            [
                Query("min by (job, instance) (up)", "{{job}} {{instance}}"),
                Query("min by (part) (boucle_part_up)", "{{part}}"),
            ],
            YES_IS_GOOD,
        ),
        rows(
            "Alerts that fire",
            "Name, severity (page: now; ticket: this week) and part. Normal: none.",
            Query('ALERTS{alertstate="firing"}'),
            ["alertname", "severity", "part", "instance"],
        ),
        numbers(
            "How old is what you see",
            "Time since production was last looked at (normal: below 30 s), since the last Evidently report, the last "
            "prediction and the last feedback (normal: as your traffic is).",
            [
                Query("min(boucle_observation_age_seconds)", "observation"),
                Query("min(boucle_report_age_seconds)", "report"),
                Query("min(boucle_prediction_age_seconds)", "prediction"),
                Query("min(boucle_feedback_age_seconds)", "feedback"),
            ],
            "s",
            span=24,
        ),
    ]


def _versions() -> list[Panel]:
    return [
        name(
            "Champion",
            "The version that the champion pointer names.",
            Query("boucle_champion_info", "{{version}}"),
            goto="boucle-training",
        ),
        name("Algorithm", "What the champion was fitted with.", Query("boucle_champion_info", "{{algorithm}}"), span=6),
        number(
            "Versions kept",
            "Model versions in artifacts/. Normal: as [retention] in project.toml says.",
            "max(boucle_model_versions)",
            "none",
        ),
        name(
            "Prometheus",
            "The version of Prometheus that answers these queries. Normal: as PROMETHEUS_VERSION in .env says.",
            Query("prometheus_build_info", "{{version}}"),
        ),
        lines(
            "Attempts to follow the pointer",
            "How often a worker loaded the version that the champion pointer names, by result, within five minutes. "
            "Normal: a few at each promotion, none that failed.",
            [Query("sum by (result) (increase(boucle_model_loads_total[5m]))", "{{result}}")],
            "none",
            span=6,
            height=4,
        ),
    ]


def _room() -> list[Panel]:
    return [
        lines(
            "Free disk",
            "Share of the disk under data/ and artifacts/ that is free. Normal: above 10 %. docs/runbooks/DiskFull.md.",
            [Query("min by (folder) (boucle_disk_free_bytes / boucle_disk_size_bytes)", "{{folder}}")],
            "percentunit",
            at_most=1,
            span=8,
        ),
        lines(
            "What a scrape takes",
            "Seconds that each target needs to tell its metrics. Normal: below 0.1 s.",
            [Query("max by (job) (scrape_duration_seconds)", "{{job}}")],
            "s",
            span=8,
        ),
        lines(
            "Series",
            "Time series that Prometheus holds; it needs a few kilobytes for each. Normal: a few thousand, and level.",
            [Query("max(prometheus_tsdb_head_series)", "series")],
            "short",
            span=8,
        ),
    ]
