"""Does the loop learn?"""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from scripts.dashboards.pages import Row, page
from scripts.dashboards.panels import (
    ALWAYS_NEUTRAL,
    ANY_IS_BAD,
    BAD,
    DOUBTFUL,
    GOOD,
    Panel,
    Query,
    bars,
    lines,
    name,
    number,
    rows,
)

STUCK_SECONDS = 7200


def dashboard() -> Dashboard:
    """Training runs, their verdicts, and the champions that came of them."""
    content = [Row("", _glance()), Row("Runs", _runs()), Row("Feedback", _feedback()), Row("Champions", _champions())]
    return page("boucle-training", "Training", "Does the loop learn, and what came of the last runs?", content)


def _glance() -> list[Panel]:
    return [
        number(
            "Failed in a row",
            "Runs that failed since the last one that did not. Normal: 0. docs/runbooks/TrainingFailed.md.",
            "max(boucle_training_failures_in_a_row)",
            "none",
            ANY_IS_BAD,
            absent="unknown",
        ),
        number(
            "At work since",
            "How long the run that is being trained has been at work; 0 s when none is. Normal: seconds to minutes; "
            "above two hours: docs/runbooks/TrainingStuck.md.",
            _age("running"),
            "s",
            ((None, GOOD), (STUCK_SECONDS / 4, DOUBTFUL), (STUCK_SECONDS, BAD)),
        ),
        number(
            "Waiting since",
            "How long the oldest run that nobody took up has waited; 0 s when none does. Normal: seconds; above 15 "
            "minutes no trainer runs: docs/runbooks/TrainingStuck.md.",
            _age("requested"),
            "s",
            ((None, GOOD), (300, DOUBTFUL), (900, BAD)),
        ),
        number(
            "Rows to the next run",
            "How many more feedback rows request a training run. Other triggers (drift, quality, schedule, by hand) "
            "may come first.",
            "min(boucle_feedback_rows_to_next_retraining)",
            "none",
            absent="k = 0",
        ),
        name(
            "Champion",
            "The version in service; in the table below, what it is and who was before.",
            Query("boucle_champion_info", "{{version}}"),
            goto="boucle-model",
        ),
        number(
            "In service since",
            "Time since the champion was promoted. Normal: as often as your data change.",
            "min(boucle_champion_age_seconds)",
            "s",
        ),
    ]


def _runs() -> list[Panel]:
    ended = 'boucle_training_runs{state=~"finished|failed"}'
    return [
        bars(
            "Runs by outcome",
            "All runs that there ever were: the finished ones by verdict (promoted, rejected, insufficient evidence), "
            "and the others by state. Coalesced requests went up into an earlier run. Normal: none failed.",
            Query("sum by (state, verdict) (boucle_training_runs)", "{{state}} {{verdict}}"),
            "none",
            ALWAYS_NEUTRAL,
        ),
        lines(
            "Runs that ended",
            "How many had ended by then, by verdict. Normal: a step now and then, of any verdict but failed.",
            [Query(f"sum by (state, verdict) ({ended}) or vector(0)", "{{state}} {{verdict}}")],
            "none",
            stacked=True,
        ),
        lines(
            "Age of the active run",
            "How long the run at work has been so, and the oldest waiting one. Normal: short teeth.",
            [Query(_age("running"), "at work"), Query(_age("requested"), "waiting")],
            "s",
        ),
        lines(
            "Failures in a row",
            "Runs that failed since the last one that did not. Normal: 0.",
            [Query("max(boucle_training_failures_in_a_row)", "failures")],
            "none",
            limit=1,
        ),
    ]


def _feedback() -> list[Panel]:
    return [
        lines(
            "Feedback",
            "Rows that were ever accepted. Normal: it grows as your labels come.",
            [Query("max(boucle_feedback_rows)", "rows")],
            "none",
            span=8,
        ),
        lines(
            "Rows to the next run",
            "A sawtooth: from k (feedback.k) down to 1. Normal: each tooth ends in a run.",
            [Query("min(boucle_feedback_rows_to_next_retraining)", "rows")],
            "none",
            span=8,
        ),
        lines(
            "Time since the last feedback",
            "Normal: as your labels come. docs/runbooks/NoFeedback.md.",
            [Query("min(boucle_feedback_age_seconds)", "age")],
            "s",
            span=8,
        ),
    ]


def _champions() -> list[Panel]:
    return [
        rows(
            "Champion",
            "Version, algorithm, and the version before it, which a rollback brings back (webapp, Models).",
            Query("boucle_champion_info"),
            ["version", "algorithm", "previous"],
            span=8,
        ),
        lines(
            "Age of the champion",
            "It falls to 0 at each promotion, which is a blue line in every graph.",
            [Query("min(boucle_champion_age_seconds)", "age")],
            "s",
            span=8,
        ),
        lines(
            "Versions kept",
            "Model versions in artifacts/. Normal: it levels out where [retention] in project.toml says.",
            [Query("max(boucle_model_versions)", "versions")],
            "none",
            span=8,
        ),
    ]


def _age(state: str) -> str:
    """Age of the oldest run in that state, 0 when there is none."""
    return f'max(boucle_training_run_age_seconds{{state="{state}"}}) or vector(0)'
