"""Observations as the API answers them: of two classes, of many, of a quantity, of a wide table."""

from datetime import UTC, datetime, timedelta

QUALITY = {"accuracy": 0.93, "balanced_accuracy": 0.912, "f1": 0.92, "precision": 0.93, "recall": 0.912}
EXPECTED = {"accuracy": 0.96, "balanced_accuracy": 0.951, "f1": 0.95, "precision": 0.95, "recall": 0.951}
NUMBERS = {"mae": 41.2, "rmse": 55.0, "mape": 0.31, "r2": 0.44}


def moved(column, size, **changes):
    found = {
        "column": column,
        "kind": "number",
        "size": size,
        "p_value": 0.0025,
        "drifted": size >= 0.25,
        "missing": False,
        "statistics": {"psi": size, "jensen_shannon": size / 3, "kolmogorov_smirnov": size / 2, "wasserstein": size},
    }
    return found | changes


def observation(columns=(("radius", 0.61), ("texture", 0.04)), seconds_ago=3.0, **changes):
    one = {
        "created_at": (datetime.now(UTC) - timedelta(seconds=seconds_ago)).isoformat(timespec="milliseconds"),
        "model_version": "v4",
        "served": {"rows": 500, "first_at": None, "last_at": None},
        "labelled": {"rows": 420, "first_row": 81, "last_row": 500},
        "quality": QUALITY,
        "expected": EXPECTED,
        "complaint": None,
        "estimated_accuracy": 0.94,
        "drift": {
            "share": sum(size >= 0.25 for _, size in columns) / len(columns),
            "drifted": sum(size >= 0.25 for _, size in columns) / len(columns) >= 0.3,
            "effect": 0.25,
            "share_limit": 0.3,
            "columns": [moved(name, size) for name, size in columns],
            "joint": {"auc": 0.81, "p_value": 0.0025, "drifted": True},
            "prediction": {"size": 0.4, "p_value": 0.0025, "drifted": True},
            "target": {"size": 0.0, "p_value": 0.6, "drifted": False},
            "concept": {"changed": True, "before": 0.021, "after": 0.3, "row": 212},
        },
        "data_quality": [
            {"column": "radius", "missing": 4, "out_of_range": 7, "new_category": 0, "minimum": 6.9, "maximum": 28.1},
            {"column": "stain", "missing": 0, "out_of_range": 0, "new_category": 2, "categories": list("abcdefgh")},
        ],
        "predictions": {"benign": 0.7, "malignant": 0.3},
        "labels": {"coverage": 0.84, "delay_seconds": {"0.5": 3.1, "0.95": 95.0}},
    }
    return one | changes


def point(seen, minutes_ago, share=1.0):
    """What the history kept of an observation ``minutes_ago``, when the columns had moved that share of the way."""
    moment = datetime.fromisoformat(seen["created_at"]) - timedelta(minutes=minutes_ago)
    drift = seen["drift"]
    return {
        "created_at": moment.isoformat(timespec="milliseconds"),
        "model_version": "v3" if minutes_ago > 5 else "v4",
        "rows": 500 - minutes_ago,
        "quality": seen["quality"],
        "estimated_accuracy": seen["estimated_accuracy"],
        "share": drift and drift["share"],
        "drifted": bool(drift and drift["drifted"]),
        "sizes": {one["column"]: one["size"] * share for one in drift["columns"]} if drift else {},
        "coverage": seen["labels"]["coverage"],
    }


def monitoring(seen, minutes=10):
    history = [point(seen, minute, 1 - minute / minutes) for minute in range(minutes - 1, -1, -1)]
    return {"latest": seen, "history": history}


def nothing_labelled(**changes):
    labels = {"coverage": 0.0, "delay_seconds": {}}
    nobody = {"rows": 0, "first_row": 0, "last_row": 0}
    return observation(labelled=nobody, quality={}, labels=labels) | changes
