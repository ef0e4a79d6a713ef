"""Evidence in, a diagnosis out: what moved since when, where quality was lost, by which version."""

from collections.abc import Sequence

from boucle import drift
from boucle.monitoring import onset, segments
from boucle.monitoring.advice import advice
from boucle.monitoring.diagnosis import Diagnosis, Evidence, MovedColumn, Onset, VersionQuality
from boucle.monitoring.findings import findings
from boucle.monitoring.observation import ColumnDrift, Observation, Point
from boucle.monitoring.observe import scores
from boucle.monitoring.windows import Row, Windows

# The onset of so many columns is looked for.
MOST_COLUMNS = 30
MOST_SEGMENTS = 12


def diagnose(evidence: Evidence) -> Diagnosis:
    """Everything that can be told from the evidence; what too few rows would tell is left out."""
    moved = [_moved(column, evidence) for column in _drifted(evidence.observation)[:MOST_COLUMNS]]
    compared = segments.compare(
        evidence.contract.target,
        evidence.contract.features,
        evidence.reference.rows,
        evidence.reference.held_out,
        evidence.labelled,
    )
    lost = [one for one in compared if one.loss > 0][:MOST_SEGMENTS]
    found = findings(evidence, moved, lost)
    next_steps = advice(evidence, moved, lost, found)
    return Diagnosis(evidence, found, next_steps, moved, lost, len(compared), _versions(evidence))


def _drifted(seen: Observation) -> list[ColumnDrift]:
    return [column for column in seen.drift.columns if column.drifted] if seen.drift else []


def _moved(column: ColumnDrift, evidence: Evidence) -> MovedColumn:
    effect = evidence.observation.drift.effect if evidence.observation.drift else 0.0
    name, rows = column.column, evidence.rows.served
    known = [row.input[name] for row in evidence.reference.rows]

    def is_far(values: Sequence[drift.Value]) -> bool:
        return drift.move(known, values, evidence.seed).drifted(effect)

    position = onset.onset(known, [row.input[name] for row in rows], is_far)
    found = None if position is None else _onset(position, evidence.rows)
    return MovedColumn(column, found, _observed_since(name, effect, evidence.history))


def _onset(position: int, rows: Windows) -> Onset:
    numbers = {row.prediction_id: row.row for row in rows.labelled}
    number = next((numbers[row.prediction_id] for row in rows.served[position:] if row.prediction_id in numbers), None)
    return Onset(position, rows.served[position].created_at, number, is_older=position == 0)


def _observed_since(column: str, effect: float, history: Sequence[Point]) -> str | None:
    """The first of the looks, without a break up to the last one, that saw the column far away."""
    since = None
    for point in reversed(history):
        if point.sizes.get(column, 0.0) < effect:
            break
        since = point.created_at
    return since


def _versions(evidence: Evidence) -> list[VersionQuality]:
    found: dict[str, list[Row]] = {}
    for row in evidence.rows.labelled:
        found.setdefault(row.model_version or "unknown", []).append(row)
    target = evidence.contract.target
    return [
        VersionQuality(
            version=version,
            rows=len(rows),
            first_row=rows[0].row or 0,
            last_row=rows[-1].row or 0,
            score=scores(target, rows).get(evidence.metric),
            held_out=evidence.held_out.get(version),
        )
        for version, rows in found.items()
    ]
