"""MLflow's aliases follow the champion pointer, whoever moved it."""

from boucle.artifacts import Artifacts
from boucle.errors import CorruptArtifact, ModelNotFound
from boucle.history import Promotion
from boucle.tracking.tracker import Tracker


class AliasFollower:
    """Tells the tracker of each promotion that it has not told it of since it was made; telling twice does no harm."""

    def __init__(self, tracker: Tracker, artifacts: Artifacts) -> None:
        self._tracker = tracker
        self._artifacts = artifacts
        self._told: Promotion | None = None

    def check(self) -> None:
        """Look at the pointer; cheap when it has not moved."""
        try:
            promotion = self._artifacts.champion()
        except (ModelNotFound, CorruptArtifact):
            return
        if promotion != self._told:
            self._tracker.point(promotion.version, promotion.previous, promotion.reason, promotion.actor)
            self._told = promotion
