"""Predictions of many requests, found in the log together: neighbours share a chunk, which is read once."""

import time
from collections.abc import Sequence
from uuid import UUID

import anyio

from boucle.contract import show
from boucle.errors import PredictionNotFound
from boucle.store import LoggedPrediction
from boucle.store.predictions import PredictionLog
from serving.grouping import Grouped

MOST = 100

# The log is written behind the answers: a prediction this young may still be on its way, from another worker too.
ON_ITS_WAY_SECONDS = 2.0
LOOK_AGAIN_SECONDS = 0.05


class Finder(Grouped[str, LoggedPrediction | None]):
    """Finds predictions by their identifiers."""

    def __init__(self, predictions: PredictionLog) -> None:
        super().__init__("finder", self._find_all, MOST)
        self._predictions = predictions

    async def find(self, prediction_id: str, instead: str = "data, prediction and target") -> LoggedPrediction:
        """The prediction, which may have been made a moment ago.

        Raises:
            PredictionNotFound: when it is not in the log; it tells to send something ``instead``.
        """
        deadline = time.monotonic() + _seconds_on_its_way(prediction_id)
        while True:
            found = await self.ask(prediction_id)
            if found is not None:
                return found
            if time.monotonic() >= deadline:
                raise PredictionNotFound(
                    f"prediction_id {show(prediction_id)} is not in the log; send {instead} instead"
                )
            await anyio.sleep(LOOK_AGAIN_SECONDS)

    def _find_all(self, identifiers: Sequence[str]) -> list[LoggedPrediction | None]:
        found = self._predictions.find_all(set(identifiers))
        return [found.get(identifier) for identifier in identifiers]


def _seconds_on_its_way(prediction_id: str) -> float:
    """How long a prediction may still be missing from the log; its identifier, a UUID of version 7, holds its time."""
    try:
        identifier = UUID(prediction_id)
    except ValueError:
        return 0.0
    age_seconds = time.time() - (identifier.int >> 80) / 1000
    return ON_ITS_WAY_SECONDS if 0 <= age_seconds < ON_ITS_WAY_SECONDS else 0.0
