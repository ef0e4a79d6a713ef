"""What is deleted, by the project's policy: old predictions, and versions that nothing needs any more."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile

from boucle.artifacts import Artifacts
from boucle.config import Project
from boucle.store import Store

# A prediction is logged behind its answer, and a worker takes a moment to swap: a version that was champion a short
# while ago may be named by predictions that are not in the log yet.
REIGN_COOLS_DOWN = timedelta(hours=1)
# Of one call, lest a trainer that meets years of predictions for the first time does nothing else for an hour.
MOST_PREDICTIONS = 50_000


@dataclass(frozen=True)
class Fate:
    """Why a version stays; None when nothing needs it, and it goes."""

    version: str
    stays: str | None


@dataclass(frozen=True)
class Plan:
    """How many predictions go, and each version's fate, oldest first."""

    predictions: int
    versions: tuple[Fate, ...]


@dataclass(frozen=True)
class Pruned:
    """What went."""

    predictions: int
    versions: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """Whether no predictions were left for the next time."""
        return self.predictions < MOST_PREDICTIONS


def plan(project: Project, artifacts: Artifacts, store: Store, now: datetime) -> Plan:
    """What `prune` would do, called until it is complete; nothing is changed."""
    oldest = _oldest_kept(project, now)
    used = {version for version, last in store.predictions.last_used().items() if last >= oldest}
    predictions = store.predictions.older_than(oldest) if oldest else 0
    return Plan(predictions, tuple(_fates(project, artifacts, used, now)))


def prune(project: Project, artifacts: Artifacts, store: Store, now: datetime) -> Pruned:
    """Delete what the project's ``[retention]`` does not keep; ``now`` has a time zone.

    Safe at any moment and beside anything: a crash leaves whole versions or none, and what serves goes on serving.
    """
    oldest = _oldest_kept(project, now)
    predictions = store.predictions.prune(oldest, MOST_PREDICTIONS) if oldest else 0
    # Behind the line above: a version stays as long as the log holds a prediction of it.
    fates = _fates(project, artifacts, set(store.predictions.last_used()), now)
    versions = artifacts.delete({fate.version for fate in fates if not fate.stays})
    return Pruned(predictions, tuple(versions))


def _oldest_kept(project: Project, now: datetime) -> str:
    """The time before which predictions go, as the log writes it; empty, which is before all times, when all stay."""
    days = project.retention.predictions_days
    return (now.astimezone(UTC) - timedelta(days=days)).isoformat(timespec="milliseconds") if days else ""


def _fates(project: Project, artifacts: Artifacts, used: set[str], now: datetime) -> list[Fate]:
    versions = artifacts.versions()
    if artifacts.champion_version() is None:
        return [Fate(version, "nobody is in charge: nothing is deleted") for version in versions]
    recent = list(takewhile(lambda reign: not reign.ended_by(now - REIGN_COOLS_DOWN), artifacts.reigns()))
    champion = recent[0].promotion
    reasons: dict[str, Collection[str | None]] = {
        "the champion": {champion.version},
        "the previous champion": {champion.previous},
        "was champion within the last hour": [reign.promotion.version for reign in recent],
        f"one of the newest {project.retention.versions}": versions[-project.retention.versions :],
        "predictions in the log name it": used,
    }
    return [
        Fate(version, next((reason for reason, those in reasons.items() if version in those), None))
        for version in versions
    ]
