"""An observation in a few lines, for a terminal or a build's log."""

from collections.abc import Iterator

from boucle.monitoring.observation import Distance, Drift, Observation

FARTHEST = 3


def summary(seen: Observation) -> Iterator[str]:
    """What was looked at, what moved, and whether the answers got worse; one line each."""
    version = seen.model_version
    yield f"{seen.served.rows} newest predictions, {seen.labelled.rows} newest labels, beside what {version} knows"
    if seen.drift:
        yield from _moves(seen.drift)
    else:
        yield "too few predictions for a verdict on drift"
    if seen.quality:
        name, value = next(iter(seen.quality.items()))
        yield f"quality: {name} {value:.3f}, expected {seen.expected.get(name, float('nan')):.3f}"
    yield f"quality has fallen: {seen.complaint}" if seen.complaint else "no complaint about quality"
    if seen.data_quality:
        yield f"values missing or never seen before in: {', '.join(one.column for one in seen.data_quality)}"


def _moves(drift: Drift) -> Iterator[str]:
    moved = list(dict.fromkeys(one.column for one in drift.columns if one.drifted))
    verdict = "the data have drifted" if drift.drifted else "no drift of the data"
    yield f"{verdict}: {len(moved)} columns moved, {drift.share:.0%} of them (limit {drift.share_limit:.0%})"
    for column in drift.columns[:FARTHEST]:
        yield f"{column.column}: {column.size:.2f} standard deviations beyond chance"
    pairs: dict[str, Distance | None] = {"predictions": drift.prediction, "true values": drift.target}
    for name, distance in pairs.items():
        if distance:
            yield f"{name}: {'drifted' if distance.drifted else 'no drift'}, {distance.size:.2f}"
