"""What is wrong, in sentences, the most important first."""

from collections.abc import Sequence
from datetime import datetime

from boucle.contract import Classes
from boucle.monitoring.diagnosis import Evidence, Finding, MovedColumn
from boucle.monitoring.observation import FEWEST_ROWS, Observation
from boucle.monitoring.segments import Segment
from boucle.store import Run

# An estimate so far below what is expected is worth a sentence; so large a share of odd values, too.
NOTABLE = 0.05


def findings(evidence: Evidence, moved: Sequence[MovedColumn], lost: Sequence[Segment]) -> list[Finding]:
    """What speaks for an error, first what was lost; that nothing does, when it is so."""
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
    return f" since {row} ({clock(found.at)})"


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


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def clock(moment: str) -> str:
    """The moment as people read it."""
    return f"{datetime.fromisoformat(moment):%Y-%m-%d %H:%M:%S} UTC"
