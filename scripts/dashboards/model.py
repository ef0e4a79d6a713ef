"""Is the model right, and are its data those that it was trained on?"""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from scripts.dashboards.pages import Row, page, variable
from scripts.dashboards.panels import (
    BAD,
    DOUBTFUL,
    GOOD,
    MOST_ROWS,
    YES_IS_BAD,
    Panel,
    Query,
    Steps,
    bars,
    cells,
    lines,
    name,
    number,
    states,
    verdict,
)

# monitoring.effect and monitoring.share as project.toml has them.
EFFECT, SHARE = 0.25, 0.3
SIZES: Steps = ((None, GOOD), (EFFECT, DOUBTFUL), (4 * EFFECT, BAD))
# Without labels nothing fell, but neither is anything known.
FALLEN = 'max(boucle_quality_fallen) and on () max(boucle_window_rows{window="labelled"}) > 0'
# Of the whole range, those columns that were farthest at some time in it: else each moment would choose its own.
FARTHEST = (
    "max by (column) (boucle_drift_size) and on (column) "
    f"topk({MOST_ROWS}, max by (column) (max_over_time(boucle_drift_size[$__range] @ end())))"
)


def dashboard() -> Dashboard:
    """Quality, drift, predictions and labels, with the champion's changes marked."""
    content = [
        Row("", _glance()),
        Row("Quality", _quality()),
        Row("Drift", _drift()),
        Row("Predictions and labels", _answers()),
    ]
    metric = variable("metric", "Metric", "label_values(boucle_model_quality_expected, metric)")
    return page("boucle-model", "Model", "Is the model right, and if not, what moved and when?", content, [metric])


def _glance() -> list[Panel]:
    return [
        verdict(
            "Quality",
            "Whether the answers whose labels came last are worse than on held-out rows, by more than "
            "triggers.metric.drop and beyond chance. Normal: as expected. docs/runbooks/QualityFallen.md.",
            FALLEN,
            {0: ("as expected", GOOD), 1: ("FALLEN", BAD)},
            absent="no labels yet",
        ),
        number(
            "$metric now",
            "The chosen metric on the answers whose labels came last (500 at most); of classes, the mean over them. "
            "Normal: near what is expected, in the first graph.",
            'max(boucle_model_quality{metric="$metric"})',
            "none",
            absent="no labels yet",
        ).decimals(3),
        verdict(
            "Data",
            "Whether monitoring.share of the columns moved away from the reference. Normal: as in the reference. "
            "docs/runbooks/DataDrift.md.",
            "max(boucle_data_drifted)",
            {0: ("as in the reference", GOOD), 1: ("DRIFTED", BAD)},
            absent="too few rows yet",
        ),
        verdict(
            "Predictions",
            "Whether the newest predictions are spread otherwise than on the reference rows. Normal: as before. "
            "docs/runbooks/PredictionDrift.md.",
            "max(boucle_prediction_drifted)",
            {0: ("as before", GOOD), 1: ("DRIFTED", BAD)},
            absent="too few rows yet",
        ),
        verdict(
            "What the data mean",
            "Whether the error of the answers changed among the newest labels (ADWIN): the same data now mean "
            "something else. Normal: as before. docs/runbooks/ConceptDrift.md.",
            "max(boucle_concept_drifted)",
            {0: ("as before", GOOD), 1: ("CHANGED", BAD)},
            absent="no labels yet",
        ),
        name(
            "Champion",
            "The version in service. The blue lines in the graphs tell since when, and who was before.",
            Query("boucle_champion_info", "{{version}}"),
            goto="boucle-training",
        ),
    ]


def _quality() -> list[Panel]:
    return [
        lines(
            "$metric, and what is expected of it",
            "The chosen metric on the newest labels; dashed: the champion's on held-out rows. Normal: the two are "
            "close, on either side. The dashed line moves with the champion.",
            [
                Query('max(boucle_model_quality{metric="$metric"})', "now"),
                Query('max(boucle_model_quality_expected{metric="$metric"})', "expected"),
            ],
            "none",
            dashed="expected",
            floor=None,
        ),
        lines(
            "Accuracy before the labels come",
            "Estimated from the probabilities of the newest predictions; measured once their labels came. Of a "
            "quantity there is none. Normal: close to each other; an estimate that falls is the earliest warning.",
            [
                Query("max(boucle_model_estimated_accuracy)", "estimated"),
                Query('max(boucle_model_quality{metric="accuracy"})', "measured"),
            ],
            "percentunit",
            floor=None,
        ),
        lines(
            "Every metric",
            "All metrics on the newest labels. Classes: 1 is best. A quantity: mae, rmse and mape in its unit, 0 is "
            "best.",
            [Query("max by (metric) (boucle_model_quality)", "{{metric}}")],
            "none",
            floor=None,
        ),
        states(
            "What was wrong when",
            "The verdicts over time; the data's, the predictions' and the true values' are about the newest 500. "
            "Normal: green.",
            [
                Query("max(boucle_quality_fallen)", "quality fell"),
                Query("max(boucle_data_drifted)", "columns drifted"),
                Query("max(boucle_joint_drifted)", "columns drifted together"),
                Query("max(boucle_prediction_drifted)", "predictions drifted"),
                Query("max(boucle_target_drifted)", "true values drifted"),
                Query("max(boucle_concept_drifted)", "errors changed"),
            ],
            YES_IS_BAD,
        ),
    ]


def _drift() -> list[Panel]:
    return [
        cells(
            "How far each column moved",
            "Distance of the newest 500 predictions' rows from the reference, in standard deviations beyond chance: "
            f"green 0, red 1 and more; {EFFECT:g} counts as drift by default. The 30 columns that were farthest in "
            "this range.",
            Query(FARTHEST, "{{column}}"),
            "none",
            SIZES,
            at_most=1,
        ),
        bars(
            "Farthest columns now",
            f"As above, at this moment. Normal: below {EFFECT:g} (monitoring.effect).",
            Query("topk(15, max by (column) (boucle_drift_size))", "{{column}}"),
            "none",
            SIZES,
            at_most=1,
        ).decimals(2),
        lines(
            "Share of columns that drifted",
            f"Normal: below {SHARE:.0%} (monitoring.share), where the data count as drifted.",
            [Query("max(boucle_drifted_columns_ratio)", "share")],
            "percentunit",
            limit=SHARE,
            at_most=1,
        ),
        lines(
            "All columns together",
            "How well a classifier tells production from the reference (AUC): 0.5 not at all, 1 without error. Normal: "
            "about 0.5. It sees what no single column shows. docs/runbooks/JointDrift.md.",
            [Query("max(boucle_joint_drift_auc)", "AUC")],
            "none",
            floor=0.5,
            at_most=1,
        ),
        lines(
            "Predictions and true values",
            "How far both moved from the reference, in standard deviations beyond chance. Normal: near 0. True values "
            "that move while the data stay: docs/runbooks/TargetDrift.md.",
            [
                Query("max(boucle_prediction_drift_size)", "predictions"),
                Query("max(boucle_target_drift_size)", "true values"),
            ],
            "none",
            limit=EFFECT,
        ),
    ]


def _answers() -> list[Panel]:
    return [
        lines(
            "What is predicted",
            "Share of each class among the newest 500 predictions; of a quantity, its 5 %, 50 % and 95 % quantiles, "
            "in its unit.",
            [
                Query(
                    "max by (class, quantile) (boucle_prediction_ratio or boucle_prediction_value)",
                    "{{class}}{{quantile}}",
                )
            ],
            "none",
        ),
        lines(
            "Predictions whose label came",
            "Share of the newest 500 predictions whose true value is known. Normal: steady. "
            "docs/runbooks/NoFeedback.md.",
            [Query("max(boucle_label_coverage_ratio)", "coverage")],
            "percentunit",
            at_most=1,
            span=6,
        ),
        lines(
            "How late labels come",
            "From a prediction to its feedback; half, and 95 of 100, of the newest came sooner. Normal: steady. "
            "docs/runbooks/LabelDelay.md.",
            [Query("max by (quantile) (boucle_label_delay_seconds)", "{{quantile}}")],
            "s",
            span=6,
        ),
        lines(
            "Rows behind these numbers",
            "Newest predictions (served) and newest feedback (labelled). Normal: 500 (monitoring.window); the fewer, "
            "the less the numbers say.",
            [Query("max by (window) (boucle_window_rows)", "{{window}}")],
            "none",
            span=24,
            height=5,
        ),
    ]
