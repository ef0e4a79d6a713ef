"""Every metric of the exporter: name, unit, labels; read from the store and the artifacts at each scrape."""

import logging
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from boucle.artifacts import Artifacts
from boucle.errors import BoucleError
from boucle.store import Store

log = logging.getLogger(__name__)


class LoopCollector(Collector):
    """What the store and the artifacts say at this moment.

    A source that does not answer gives no numbers, rather than old ones, and says so in `boucle_exporter_source_up`.
    """

    def __init__(self, store: Store, artifacts: Artifacts) -> None:
        self._store = store
        self._artifacts = artifacts

    def describe(self) -> Iterable[Metric]:
        """Nothing: else the registry would read the store before it is up, to learn the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The metrics of one scrape."""
        up = GaugeMetricFamily(
            "boucle_exporter_source_up", "Whether the source of the numbers answers.", labels=["source"]
        )
        for source, read in (("store", self._from_store), ("artifacts", self._from_artifacts)):
            try:
                metrics = read()
            except (SQLAlchemyError, BoucleError, OSError) as error:
                log.warning("%s does not answer: %s", source, error)
                up.add_metric([source], 0)
            else:
                up.add_metric([source], 1)
                yield from metrics
        yield up

    def _from_store(self) -> list[Metric]:
        rows = GaugeMetricFamily("boucle_feedback_rows", "Feedback rows that were ever accepted.")
        rows.add_metric([], self._store.feedback.rows())
        missing = GaugeMetricFamily(
            "boucle_feedback_rows_to_next_retraining", "How many more rows request the next training run."
        )
        rows_to_next = self._store.feedback.rows_to_next_retraining()
        if rows_to_next is not None:  # k = 0: no number of rows requests a run
            missing.add_metric([], rows_to_next)
        runs = GaugeMetricFamily(
            "boucle_training_runs", "Training runs by state, and by verdict once finished.", labels=["state", "verdict"]
        )
        for (state, verdict), count in self._store.runs.totals().items():
            runs.add_metric([state, verdict or ""], count)
        return [rows, missing, runs]

    def _from_artifacts(self) -> list[Metric]:
        champion = self._artifacts.champion()
        algorithm = self._artifacts.manifest(champion.version).algorithm
        info = GaugeMetricFamily(
            "boucle_champion_info",
            "1, labelled with the version in charge.",
            labels=["version", "previous", "algorithm"],
        )
        info.add_metric([champion.version, champion.previous or "", algorithm], 1)
        age = GaugeMetricFamily("boucle_champion_age_seconds", "Time since the champion was promoted.")
        promoted_at = datetime.fromisoformat(champion.promoted_at)
        age.add_metric([], (datetime.now(UTC) - promoted_at).total_seconds())
        versions = GaugeMetricFamily("boucle_model_versions", "Versions that are kept.")
        versions.add_metric([], len(self._artifacts.versions()))
        return [info, age, versions]
