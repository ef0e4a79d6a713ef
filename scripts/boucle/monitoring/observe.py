"""Windows of production rows in, one observation out: quality, drift, data quality, labels."""

import math
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import numpy as np
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import mean_absolute_percentage_error

from boucle import drift, evaluation, live_metric
from boucle.config import MonitoringSection, Project
from boucle.contract import Category, Cell, Classes, Contract, Feature, Label, Number, Record, Target
from boucle.drift import Move, concept, joint, statistics
from boucle.encoding import encode
from boucle.live_metric import Limits
from boucle.monitoring.observation import (
    FEWEST_ROWS,
    ColumnDrift,
    ColumnQuality,
    ConceptDrift,
    Distance,
    Drift,
    JointDrift,
    LabelledRows,
    Labels,
    Observation,
    Served,
)
from boucle.monitoring.windows import Reference, Row, Windows

SCORES = ("accuracy", "balanced_accuracy", "f1", "precision", "recall")
QUANTILES = (0.05, 0.5, 0.95)
DELAYS = (0.5, 0.95)


def observe(
    now: datetime,
    version: str,
    reference: Reference,
    windows: Windows,
    project: Project,
) -> Observation:
    """Everything there is to see in the windows; what too few rows would tell is left out."""
    target, labelled, served = reference.contract.target, windows.labelled, windows.served
    settings, bad, seed = project.monitoring, project.triggers.metric, project.training.seed
    return Observation(
        created_at=now.isoformat(timespec="milliseconds"),
        model_version=version,
        served=Served(
            rows=len(served),
            first_at=served[0].created_at if served else None,
            last_at=served[-1].created_at if served else None,
        ),
        labelled=LabelledRows(
            rows=len(labelled),
            first_row=(labelled[0].row or 0) if labelled else 0,
            last_row=(labelled[-1].row or 0) if labelled else 0,
        ),
        quality=scores(target, labelled),
        expected=scores(target, reference.held_out),
        complaint=_complaint(reference.held_out, labelled, Limits(bad.floor, bad.ceiling, bad.drop)),
        estimated_accuracy=estimated_accuracy(reference.held_out, served),
        drift=_drift(version, reference, windows, settings, seed) if len(served) >= FEWEST_ROWS else None,
        data_quality=data_quality(reference.contract, [row.input for row in served]),
        predictions=distribution(target, [row.prediction for row in served]),
        labels=Labels(
            coverage=float(np.mean([row.target is not None for row in served])) if served else None,
            delay_seconds=_delays(labelled),
        ),
    )


def scores(target: Target, rows: Sequence[Row]) -> dict[str, float]:
    """How good the answers were, by metric; empty without rows."""
    if not rows:
        return {}
    if isinstance(target, Classes):
        labels, answers = (np.array(positions) for positions in zip(*_positions(target, rows), strict=True))
        ideal = np.eye(target.n_classes)[answers]
        found = {name: evaluation.score(name, labels, ideal) for name in SCORES}
    else:
        truths, given = np.array([[row.target, row.prediction] for row in rows], dtype=np.float64).T
        found = {name: evaluation.score(name, truths, given[:, np.newaxis]) for name in evaluation.QUANTITY_METRICS}
        if (truths != 0).any():
            of = truths != 0  # a share of nothing is not defined
            found["mape"] = float(mean_absolute_percentage_error(truths[of], given[of]))
    return {name: value for name, value in found.items() if math.isfinite(value)}


def estimated_accuracy(held_out: Sequence[Row], served: Sequence[Row]) -> float | None:
    """The share of right answers to expect among the served rows, from how sure the model was of each.

    How often it is right when it is so sure is learnt from the held-out rows, by isotonic regression (Zadrozny and
    Elkan, 2002). It sees the rows move to where the model is unsure; it cannot see that the concept changed.
    """
    known = [(row.confidence, row.prediction == row.target) for row in held_out if row.confidence is not None]
    asked = [row.confidence for row in served if row.confidence is not None]
    if min(len(known), len(asked)) < FEWEST_ROWS:
        return None
    sure, right = zip(*known, strict=True)
    calibration = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(sure, np.array(right, dtype=float))
    return float(np.mean(calibration.predict(asked)))


def data_quality(contract: Contract, records: Sequence[Record]) -> list[ColumnQuality]:
    """The columns with values that are missing, or that the reference rows never showed."""
    found = [_column_quality(feature, [record[feature.name] for record in records]) for feature in contract.features]
    return [one for one in found if one.missing or one.out_of_range or one.new_category]


def _column_quality(feature: Feature, cells: Sequence[Cell]) -> ColumnQuality:
    values = [value for value in cells if value is not None]
    limits = (feature.minimum, feature.maximum) if isinstance(feature, Number) else None
    categories = feature.categories if isinstance(feature, Category) else None
    return ColumnQuality(
        column=feature.name,
        missing=len(cells) - len(values),
        out_of_range=sum(not limits[0] <= float(value) <= limits[1] for value in values) if limits else 0,
        new_category=sum(value not in categories for value in values) if categories else 0,
        minimum=limits[0] if limits else None,
        maximum=limits[1] if limits else None,
        categories=list(categories) if categories else None,
    )


def distribution(target: Target, predictions: Sequence[Label]) -> dict[str, float]:
    """The share of each class, or the quantiles of a quantity."""
    if not predictions:
        return {}
    if isinstance(target, Classes):
        counts = Counter(predictions)
        return {str(name): counts[name] / len(predictions) for name in target.classes}
    return _quantiles(predictions, QUANTILES)


def _complaint(held_out: Sequence[Row], labelled: Sequence[Row], limits: Limits) -> str | None:
    # Of what is expected one must know at least as much: a small held-out part judges the newest labels only.
    newest = labelled[-len(held_out) :]
    if min(len(held_out), len(newest)) < FEWEST_ROWS:
        return None
    return live_metric.complaint(_answers(held_out), _answers(newest), limits)


def _answers(rows: Sequence[Row]) -> list[live_metric.Answer]:
    return [(row.target, row.prediction) for row in rows if row.target is not None]


def _drift(version: str, reference: Reference, windows: Windows, settings: MonitoringSection, seed: int) -> Drift:
    known, served = ([row.input for row in rows] for rows in (reference.rows, windows.served))
    moves = drift.compare(known, served, seed)
    drifted = {move.column for move in moves if move.drifted(settings.effect)}
    share = len(drifted) / len(reference.contract.names)
    kinds = {feature.name: feature.kind for feature in reference.contract.features}
    return Drift(
        share=share,
        drifted=share >= settings.share,
        effect=settings.effect,
        share_limit=settings.share,
        columns=sorted(
            (_column(move, kinds[move.column], known, served, settings.effect) for move in moves),
            key=lambda one: one.size,
            reverse=True,
        ),
        joint=_joint(reference.contract, known, served, seed),
        prediction=_distance(
            [row.prediction for row in reference.rows], [row.prediction for row in windows.served], settings, seed
        ),
        target=_distance(
            [row.target for row in reference.rows], [row.target for row in windows.labelled], settings, seed
        ),
        concept=_concept(version, reference.contract.target, windows.labelled),
    )


def _column(move: Move, kind: str, known: Sequence[Record], served: Sequence[Record], effect: float) -> ColumnDrift:
    present = ([value for row in rows if (value := row[move.column]) is not None] for rows in (known, served))
    return ColumnDrift(
        column=move.column,
        kind=kind,
        missing=move.missing,
        size=move.size,
        p_value=move.p_value,
        drifted=move.drifted(effect),
        statistics={} if move.missing else statistics.statistics(*present),
    )


def _joint(contract: Contract, known: Sequence[Record], served: Sequence[Record], seed: int) -> JointDrift:
    found = joint.separation(encode(contract, known), encode(contract, served), seed)
    return JointDrift(auc=found.auc, p_value=found.p_value, drifted=found.drifted)


def _distance(
    known: Sequence[Label | None], current: Sequence[Label | None], settings: MonitoringSection, seed: int
) -> Distance | None:
    if len(current) < FEWEST_ROWS:
        return None
    # A class, also one that is written as an integer, is a category.
    before, now = ([value if isinstance(value, float) else str(value) for value in side] for side in (known, current))
    move = drift.move(before, now, seed)
    return Distance(size=move.size, p_value=move.p_value, drifted=move.drifted(settings.effect))


def _concept(version: str, target: Target, labelled: Sequence[Row]) -> ConceptDrift | None:
    # Of one champion: a better successor changes the errors, too.
    labelled = [row for row in labelled if row.model_version == version]
    if len(labelled) < FEWEST_ROWS:
        return None
    change = concept.change([_error(target, row) for row in labelled])
    at = labelled[change.position].row if change.position is not None else None
    return ConceptDrift(changed=change.changed, before=change.before, after=change.after, row=at)


def _error(target: Target, row: Row) -> float:
    if isinstance(target, Classes):
        return float(row.prediction != row.target)
    return abs(float(row.prediction) - float(row.target or 0))


def _positions(target: Classes, rows: Sequence[Row]) -> list[tuple[int, int]]:
    return [(target.index(row.target), target.index(row.prediction)) for row in rows]


def _delays(labelled: Sequence[Row]) -> dict[str, float]:
    delays = [row.delay_seconds for row in labelled if row.delay_seconds is not None]
    return _quantiles(delays, DELAYS) if delays else {}


def _quantiles(values: Sequence[Label], quantiles: Sequence[float]) -> dict[str, float]:
    found = np.quantile(np.array(values, dtype=np.float64), quantiles)
    return {f"{quantile:g}": float(value) for quantile, value in zip(quantiles, found, strict=True)}
