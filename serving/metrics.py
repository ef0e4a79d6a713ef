"""Every Prometheus metric of serving: name, unit, labels. Correct with several workers."""

import os
import re
from bisect import bisect_left
from pathlib import Path

from prometheus_client import REGISTRY as ONE_PROCESS
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

SECONDS = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

REQUESTS = Counter("boucle_http_requests_total", "Answered requests.", ["method", "route", "status"])
REQUEST_SECONDS = Histogram("boucle_http_request_seconds", "Time to the answer.", ["route"], buckets=SECONDS)
IN_FLIGHT = Gauge("boucle_http_requests_in_flight", "Requests under way.", multiprocess_mode="livesum")
PREDICTIONS = Counter("boucle_predictions_total", "Predictions answered.", ["model_version"])
PREDICTION_SECONDS = Histogram("boucle_prediction_seconds", "Time in embedding and model.", buckets=SECONDS)
FEEDBACK = Counter("boucle_feedback_total", "Feedback rows acknowledged.")
MODEL_LOADS = Counter("boucle_model_loads_total", "Attempts to follow the champion pointer.", ["result"])
JOURNAL_QUEUE = Gauge(
    "boucle_prediction_log_queue_rows", "Predictions not yet in the log.", multiprocess_mode="livesum"
)
JOURNAL_DROPS = Counter("boucle_prediction_log_dropped_total", "Predictions that the log lost to a full queue.")


class Bulk:
    """Observations of a histogram that are brought to it many at a time: one by one they cost as much as an answer.

    Not thread-safe: it belongs to the event loop's thread.
    """

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._reset()

    def observe(self, seconds: float) -> None:
        """As `Histogram.observe`."""
        self._counts[bisect_left(SECONDS, seconds)] += 1
        self._sum += seconds

    def settle(self) -> int:
        """Bring them to the histogram; how many there were."""
        counts, total = self._counts, self._sum
        self._reset()
        # prometheus_client has no public way to add many at once.
        for bucket, count in zip(self._histogram._buckets, counts, strict=True):
            if count:
                bucket.inc(count)
        self._histogram._sum.inc(total)
        return sum(counts)

    def _reset(self) -> None:
        self._counts, self._sum = [0] * (len(SECONDS) + 1), 0.0


class Tally:
    """The metrics of single predictions, settled a few times a second and before every scrape of this worker."""

    def __init__(self) -> None:
        self._requests = Bulk(REQUEST_SECONDS.labels("/predict"))
        self._predictions = Bulk(PREDICTION_SECONDS)
        self._by_version: dict[str, int] = {}
        self.request = self._requests.observe

    def prediction(self, version: str, seconds: float) -> None:
        """One answer of ``version``, which took its embedding and model so long."""
        self._predictions.observe(seconds)
        self._by_version[version] = self._by_version.get(version, 0) + 1

    def settle(self) -> None:
        """Bring everything to Prometheus."""
        answered = self._requests.settle()
        if answered:
            REQUESTS.labels("POST", "/predict", 200).inc(answered)
        self._predictions.settle()
        counted, self._by_version = self._by_version, {}
        for version, predictions in counted.items():
            PREDICTIONS.labels(version).inc(predictions)


def exposition() -> bytes:
    """All metrics of all workers, in Prometheus' text format."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(ONE_PROCESS)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def forget_dead_workers() -> None:
    """Drop the gauges of workers that are gone: uvicorn has no hook that would tell when one is killed."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    for path in Path(folder).glob("gauge_live*_*.db") if folder else ():
        pid = int(re.findall(r"\d+", path.stem)[-1])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]


def forget_this_worker() -> None:
    """Drop this worker's gauges: it is leaving."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        multiprocess.mark_process_dead(os.getpid())  # type: ignore[no-untyped-call]
