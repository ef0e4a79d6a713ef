"""What to do next, by rule."""

from collections.abc import Sequence

from boucle.monitoring.diagnosis import Evidence, Finding, MovedColumn
from boucle.monitoring.findings import NOTABLE, clock
from boucle.monitoring.observation import Observation
from boucle.monitoring.segments import Segment
from boucle.store import Run

# Columns that began to move within so many rows of each other have one cause.
TOGETHER = 25


def advice(
    evidence: Evidence, moved: Sequence[MovedColumn], lost: Sequence[Segment], found: Sequence[Finding]
) -> list[str]:
    """Two to four sentences."""
    if not any(one.is_bad for one in found):
        return ["Nothing needs to be done.", "This page can be made again at any time: make diagnose."]
    is_worse = _is_worse(evidence.observation, lost)
    mending = _data_advice(evidence)
    steps = [*_cause(moved), *mending, *(_training_advice(evidence, moved) if is_worse else [])]
    if moved and not is_worse and not mending:
        steps.append(
            "The answers are not known to be worse: if the new population is there to stay, make prepare "
            "turns it into the reference."
        )
    if not steps:
        steps = ["Nothing tells the cause yet: labels of the newest predictions would."]
    return [*steps[:3], "Look again after the next labels: make diagnose."]


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
    when = clock(found[0][1].at)
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
