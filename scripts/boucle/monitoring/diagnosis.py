"""What is wrong with the model in production, since when, where, and what to do next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from boucle import drift
from boucle.contract import Classes, Contract
from boucle.monitoring import onset, segments
from boucle.monitoring.observation import ColumnDrift, Observation, Point
from boucle.monitoring.observe import FEWEST_ROWS, scores
from boucle.monitoring.segments import Segment
from boucle.monitoring.windows import Reference, Row, Windows
from boucle.store import Run

# The onset of so many columns is looked for, and the distribution of so many is drawn.
MOST_COLUMNS, MOST_DRAWN = 30, 6
MOST_SEGMENTS = 12
# An estimate so far below what is expected is worth a sentence; a share of odd values, too.
NOTABLE = 0.05
# Columns that began to move within so many rows of each other have one cause.
TOGETHER = 25


@dataclass(frozen=True)
class Evidence:
    """What a diagnosis is made of; ``rows`` reach back beyond the observation's windows.

    ``runs`` are the last ones, newest first, without those that were merged into another. ``held_out`` is the project's
    metric of each version on rows that it never saw, as far as it is known.
    """

    project: str
    metric: str
    seed: int
    champion_since: str
    reference: Reference
    rows: Windows
    labelled: Sequence[Row]
    observation: Observation
    history: Sequence[Point]
    runs: Sequence[Run]
    held_out: Mapping[str, float]

    @property
    def contract(self) -> Contract:
        return self.reference.contract


@dataclass(frozen=True)
class Onset:
    """The first prediction from which on a column was far; ``is_older`` when all that were looked at are.

    ``row`` is the number of its feedback, or of the next one behind it.
    """

    position: int
    at: str
    row: int | None
    is_older: bool


@dataclass(frozen=True)
class MovedColumn:
    """A column that drifted, since which row, and since when the observer has been seeing it."""

    drift: ColumnDrift
    onset: Onset | None
    observed_since: str | None


@dataclass(frozen=True)
class VersionQuality:
    """How one version answered: the project's metric on its labelled rows, and on those held out when it was made."""

    version: str
    rows: int
    first_row: int
    last_row: int
    score: float | None
    held_out: float | None


@dataclass(frozen=True)
class Finding:
    """One sentence; ``is_bad`` when it is a reason to act."""

    text: str
    is_bad: bool = True


@dataclass(frozen=True)
class Diagnosis:
    """The page's contents, the most important first."""

    evidence: Evidence
    findings: Sequence[Finding]
    advice: Sequence[str]
    moved: Sequence[MovedColumn]
    segments: Sequence[Segment]
    segments_seen: int
    versions: Sequence[VersionQuality]

    @property
    def is_calm(self) -> bool:
        return not any(one.is_bad for one in self.findings)


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
    found = _findings(evidence, moved, lost)
    return Diagnosis(
        evidence, found, _advice(evidence, moved, lost, found), moved, lost, len(compared), _versions(evidence)
    )


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


def _findings(evidence: Evidence, moved: Sequence[MovedColumn], lost: Sequence[Segment]) -> list[Finding]:
    seen = evidence.observation
    found = [
        *([Finding(_sentence(seen.complaint))] if seen.complaint else []),
        *_drift_findings(seen, moved),
        *_estimate_findings(seen),
        *_concept_findings(seen),
        *_segment_findings(lost, isinstance(evidence.contract.target, Classes)),
        *_quality_findings(evidence),
        *_other_findings(seen),
        *_training_findings(evidence.runs),
    ]
    return found if any(one.is_bad for one in found) else [Finding(_calm(seen), is_bad=False), *found]


def _calm(seen: Observation) -> str:
    if min(seen.served.rows, seen.labelled.rows) < FEWEST_ROWS:
        return (
            f"Nothing is known to be wrong, of {seen.served.rows} predictions and {seen.labelled.rows} labels: "
            f"{FEWEST_ROWS} of each are needed for a verdict."
        )
    return (
        f"Nothing is wrong: the newest {seen.labelled.rows} labels and {seen.served.rows} predictions "
        "are what the champion expects."
    )


def _drift_findings(seen: Observation, moved: Sequence[MovedColumn]) -> list[Finding]:
    if not seen.drift:
        return []
    names = list(dict.fromkeys(one.drift.column for one in moved))
    if not names:
        if seen.drift.joint and seen.drift.joint.drifted:
            auc = seen.drift.joint.auc
            return [
                Finding(f"The columns together have moved, although none alone: AUC {auc:.2f} against the reference.")
            ]
        return []
    columns = len({one.column for one in seen.drift.columns})
    sizes = [_size(name, moved) for name in names[:3]]
    sizes[0] += " standard deviations"
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    have = "columns has" if len(names) == 1 else "columns have"
    return [Finding(f"{len(names)} of {columns} {have} moved{_since(moved)}: {', '.join(sizes)}{more}.")]


def _size(name: str, moved: Sequence[MovedColumn]) -> str:
    farthest = next(one.drift for one in moved if one.drift.column == name)
    return f"{'the gaps of ' if farthest.missing else ''}{name} by {farthest.size:.2g}"


def _since(moved: Sequence[MovedColumn]) -> str:
    """Since when the farthest column has been away, of those of which it is known."""
    found = next((one.onset for one in moved if one.onset), None)
    if found is None:
        return ""
    if found.is_older:
        return " since before the rows that were looked at"
    row = f"feedback row {found.row}" if found.row else f"prediction {found.position + 1} of those looked at"
    return f" since {row} ({_clock(found.at)})"


def _estimate_findings(seen: Observation) -> list[Finding]:
    expected, now = seen.expected.get("accuracy"), seen.estimated_accuracy
    if expected is None or now is None or now >= expected - NOTABLE:
        return []
    return [Finding(f"The model is unsure: an accuracy of {now:.3f} is estimated, {expected:.3f} is expected.")]


def _concept_findings(seen: Observation) -> list[Finding]:
    concept = seen.drift.concept if seen.drift else None
    if not concept or not concept.changed or concept.before is None or concept.after is None:
        return []
    text = f"The mean error changed at feedback row {concept.row}: from {concept.before:.3g} to {concept.after:.3g}."
    return [Finding(text, is_bad=concept.after > concept.before)]


def _segment_findings(lost: Sequence[Segment], is_share: bool) -> list[Finding]:
    sure = [one for one in lost if one.is_sure]
    if not sure:
        return []
    worst = sure[0]
    how = (
        f"{worst.now.value:.0%} right instead of {worst.before.value:.0%}"
        if is_share
        else f"off by {worst.now.value:.4g} instead of {worst.before.value:.4g}"
    )
    return [Finding(f"Most was lost where {worst.column} is {worst.title}: {how}, on {worst.now.rows} rows.")]


def _quality_findings(evidence: Evidence) -> list[Finding]:
    seen, held_out = evidence.observation, [row.input for row in evidence.reference.held_out]
    found = []
    for one in seen.data_quality:
        usual = sum(record[one.column] is None for record in held_out) / max(1, len(held_out))
        if one.missing / seen.served.rows >= usual + NOTABLE:
            found.append(f"{one.column} is missing in {one.missing} of {seen.served.rows} predictions")
        if one.new_category / seen.served.rows >= NOTABLE:
            found.append(f"{one.column} has a category that the reference never showed in {one.new_category}")
        if one.out_of_range / seen.served.rows >= NOTABLE:
            found.append(f"{one.column} is beyond all that the reference showed in {one.out_of_range}")
    more = f"; {len(found) - 3} more columns" if len(found) > 3 else ""
    return [Finding(f"Odd values: {'; '.join(found[:3])}{more}.")] if found else []


def _other_findings(seen: Observation) -> list[Finding]:
    found = []
    if seen.drift and seen.drift.prediction and seen.drift.prediction.drifted:
        found.append(Finding(f"The predictions have moved by {seen.drift.prediction.size:.2g}.", is_bad=False))
    if seen.drift and seen.drift.target and seen.drift.target.drifted:
        found.append(Finding(f"The true values have moved by {seen.drift.target.size:.2g}.", is_bad=False))
    if not seen.labelled.rows and seen.served.rows >= FEWEST_ROWS:
        found.append(Finding("No true value has come: the quality is not known.", is_bad=True))
    return found


def _training_findings(runs: Sequence[Run]) -> list[Finding]:
    if runs and runs[0].state == "failed":
        return [Finding(f"Training run {runs[0].id} failed: {runs[0].reason or 'no reason given'}.")]
    return []


def _advice(
    evidence: Evidence, moved: Sequence[MovedColumn], lost: Sequence[Segment], found: Sequence[Finding]
) -> list[str]:
    """Two to four sentences, by rule."""
    if not any(one.is_bad for one in found):
        return ["Nothing needs to be done.", "This page can be made again at any time: make diagnose."]
    is_worse = _is_worse(evidence.observation, lost)
    mending = _data_advice(evidence)
    advice = [*_cause(moved), *mending, *(_training_advice(evidence, moved) if is_worse else [])]
    if moved and not is_worse and not mending:
        advice.append(
            "The answers are not known to be worse: if the new population is there to stay, make prepare "
            "turns it into the reference."
        )
    return [*advice[:3], "Look again after the next labels: make diagnose."]


def _is_worse(seen: Observation, lost: Sequence[Segment]) -> bool:
    concept = seen.drift.concept if seen.drift else None
    has_more_errors = bool(concept and concept.changed and (concept.after or 0.0) > (concept.before or 0.0))
    return bool(seen.complaint) or has_more_errors or any(one.is_sure for one in lost)


def _cause(moved: Sequence[MovedColumn]) -> list[str]:
    found = [(one.drift.column, one.onset) for one in moved if one.onset and not one.onset.is_older]
    names = list(dict.fromkeys(column for column, _ in found))
    if not names:
        return []
    places = [where.position for _, where in found]
    listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    when = _clock(found[0][1].at)
    if len(names) > 1 and max(places) - min(places) <= TOGETHER:
        return [f"Look for one cause, such as a device, a unit or a release, at {when}: {listed} moved together."]
    return [f"Ask whoever sends {listed} what changed at {when}."]


def _training_advice(evidence: Evidence, moved: Sequence[MovedColumn]) -> list[str]:
    if not moved:
        return ["The inputs are as before, the truth is not: check a few labels by hand, then retrain."]
    last = evidence.runs[0] if evidence.runs else None
    if last and last.state == "requested":
        return [f"Training run {last.id} waits: does the trainer run?"]
    if last and last.state == "running":
        return [f"Training run {last.id} is under way: wait for its verdict."]
    if promoted := _promoted_since(evidence.runs, moved):
        return [f"{promoted.version} was promoted since then: the labels of its own answers will tell if it is enough."]
    if last and last.verdict:
        return [f"No challenger has won since then (run {last.id}: {last.verdict}): send more labels."]
    return ["Retrain now: POST /retrain, or the button on the Loop page."]


def _promoted_since(runs: Sequence[Run], moved: Sequence[MovedColumn]) -> Run | None:
    began = next((one.onset.at for one in moved if one.onset), "")
    return next((run for run in runs if run.verdict == "promoted" and (run.finished_at or "") >= began), None)


def _data_advice(evidence: Evidence) -> list[str]:
    seen = evidence.observation
    odd = [one.column for one in seen.data_quality if (one.missing + one.new_category) / seen.served.rows >= NOTABLE]
    if not odd:
        return []
    return [f"Mend the source of {', '.join(odd[:3])}: missing values and unknown categories are rarely a population."]


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _clock(moment: str) -> str:
    return f"{datetime.fromisoformat(moment):%Y-%m-%d %H:%M:%S} UTC"
