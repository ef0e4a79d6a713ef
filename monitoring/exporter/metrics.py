"""What a scrape reads: the store and the artifacts as they are, and the last observation."""

import logging
import shutil
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from boucle.artifacts import Artifacts
from boucle.errors import BoucleError
from boucle.etl.status import last_loads
from boucle.monitoring.reports import last_report
from boucle.store import Run, Store
from monitoring.exporter.families import by_label, gauge, of_loads, of_observation
from monitoring.exporter.parts import Parts
from monitoring.exporter.watch import Watch

log = logging.getLogger(__name__)

RUNS_LOOKED_AT = 50


class LoopCollector(Collector):
    """What there is to know at this moment.

    A source that does not answer gives no numbers, rather than old ones, and says so in `boucle_exporter_source_up`.
    """

    def __init__(self, store: Store, artifacts: Artifacts, data: Path, watch: Watch, parts: Parts) -> None:
        self._store = store
        self._artifacts = artifacts
        self._data = data
        self._watch = watch
        self._parts = parts

    def describe(self) -> Iterable[Metric]:
        """Nothing: else the registry would read the store before it is up, to learn the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The metrics of one scrape."""
        up = GaugeMetricFamily(
            "boucle_exporter_source_up", "Whether the source of the numbers answers.", labels=["source"]
        )
        sources: dict[str, Callable[[], list[Metric]]] = {
            "store": self._from_store,
            "artifacts": self._from_artifacts,
        }
        for source, read in sources.items():
            try:
                metrics = read()
            except (SQLAlchemyError, BoucleError, OSError) as error:
                log.warning("%s does not answer: %s", source, error)
                up.add_metric([source], 0)
            else:
                up.add_metric([source], 1)
                yield from metrics
        yield up
        yield from self._from_watch()
        yield from self._from_parts()
        yield from self._from_disks()

    def _from_store(self) -> list[Metric]:
        feedback, runs, now = self._store.feedback, self._store.runs, datetime.now(UTC)
        newest = runs.newest(RUNS_LOOKED_AT)
        return [
            *gauge("boucle_feedback_rows", "Feedback rows that were ever accepted.", feedback.rows()),
            # k = 0: no number of rows requests a run.
            *gauge(
                "boucle_feedback_rows_to_next_retraining",
                "How many more rows request the next training run.",
                feedback.rows_to_next_retraining(),
            ),
            *gauge("boucle_feedback_age_seconds", "Time since the last feedback.", _age(feedback.last_given_at(), now)),
            *gauge(
                "boucle_prediction_age_seconds",
                "Time since the last prediction in the log.",
                _age(self._store.predictions.last_made_at(), now),
            ),
            *by_label(
                "boucle_training_runs",
                "Training runs by state, and by verdict once finished.",
                ["state", "verdict"],
                {(state, verdict or ""): count for (state, verdict), count in runs.totals().items()},
            ),
            *by_label(
                "boucle_training_run_age_seconds",
                "How long the oldest run that is not finished has waited, or has been at work.",
                ["state"],
                _active(newest, now),
            ),
            *gauge(
                "boucle_training_failures_in_a_row",
                "Training runs that failed since the last one that did not.",
                _failures(newest),
            ),
        ]

    def _from_artifacts(self) -> list[Metric]:
        champion = self._artifacts.champion()
        algorithm = self._artifacts.manifest(champion.version).algorithm
        return [
            *by_label(
                "boucle_champion_info",
                "1, labelled with the version in charge.",
                ["version", "previous", "algorithm"],
                {(champion.version, champion.previous or "", algorithm): 1},
            ),
            *gauge(
                "boucle_champion_age_seconds",
                "Time since the champion was promoted.",
                _age(champion.promoted_at, datetime.now(UTC)),
            ),
            *gauge("boucle_model_versions", "Versions that are kept.", len(self._artifacts.versions())),
        ]

    def _from_watch(self) -> Iterator[Metric]:
        last = self._watch.last
        yield from gauge(
            "boucle_observation_age_seconds", "Time since production was last looked at.", last.age_seconds
        )
        yield from gauge(
            "boucle_champion_intact",
            "1 when there is a champion and its files are those that its manifest promises.",
            None if last.is_intact is None else float(last.is_intact),
        )
        if last.observation:
            yield from of_observation(last.observation)

    def _from_parts(self) -> list[Metric]:
        return by_label(
            "boucle_part_up",
            "Whether a part without metrics of its own answers its health check.",
            ["part"],
            {(part,): float(is_up) for part, is_up in self._parts.are_up.items()},
        )

    def _from_disks(self) -> Iterator[Metric]:
        written = last_report(self._data)
        yield from gauge(
            "boucle_report_age_seconds",
            "Time since the last Evidently report.",
            None if written is None else (datetime.now(UTC) - written).total_seconds(),
        )
        free: dict[tuple[str, ...], float] = {}
        size: dict[tuple[str, ...], float] = {}
        for name, folder in (("data", self._data), ("artifacts", self._artifacts.root)):
            if folder.is_dir():
                usage = shutil.disk_usage(folder)
                free[name,], size[name,] = usage.free, usage.total
        yield from of_loads(last_loads(self._data))
        yield from by_label("boucle_disk_free_bytes", "Space left on the folder's disk.", ["folder"], free)
        yield from by_label("boucle_disk_size_bytes", "Size of the folder's disk.", ["folder"], size)


def _active(newest: list[Run], now: datetime) -> dict[tuple[str, ...], float]:
    """Age of the oldest run that is requested, and of the one that runs."""
    ages: dict[tuple[str, ...], float] = {}
    for run in newest:  # the oldest comes last
        since = {"requested": run.requested_at, "running": run.started_at}.get(run.state)
        age = _age(since, now)
        if age is not None:
            ages[run.state,] = age
    return ages


def _failures(newest: list[Run]) -> int:
    ended = [run.state for run in newest if run.state in ("finished", "failed")]
    return sum(1 for _ in takewhile(lambda state: state == "failed", ended))


def _age(moment: str | None, now: datetime) -> float | None:
    return None if moment is None else (now - datetime.fromisoformat(moment)).total_seconds()
