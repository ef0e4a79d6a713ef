"""Every Prometheus metric of serving: name, unit, labels. Correct with several workers."""

import os
import re
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import REGISTRY as ONE_PROCESS
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

TIMED_VERSIONS = 20
STATM = Path("/proc/self/statm")
SECONDS = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

REQUESTS = Counter("boucle_http_requests_total", "Answered requests.", ["method", "route", "status"])
REQUEST_SECONDS = Histogram("boucle_http_request_seconds", "Time to the answer.", ["route"], buckets=SECONDS)
IN_FLIGHT = Gauge("boucle_http_requests_in_flight", "Requests under way.", multiprocess_mode="livesum")
PREDICTIONS = Counter("boucle_predictions_total", "Predictions answered.", ["model_version"])
PREDICTION_SECONDS = Histogram(
    "boucle_prediction_seconds", "Time in embedding and model.", ["model_version"], buckets=SECONDS
)
FEEDBACK = Counter("boucle_feedback_total", "Feedback rows acknowledged.")
MODEL_LOADS = Counter("boucle_model_loads_total", "Attempts to follow the champion pointer.", ["result"])
JOURNAL_QUEUE = Gauge(
    "boucle_prediction_log_queue_rows", "Predictions not yet in the log.", multiprocess_mode="livesum"
)
JOURNAL_DROPS = Counter("boucle_prediction_log_dropped_total", "Predictions that the log lost to a full queue.")
RESIDENT_MEMORY = Gauge(
    "boucle_process_resident_memory_bytes",
    "Memory that the workers hold; what they share is counted for each.",
    multiprocess_mode="livesum",
)
MEMORY_LIMIT = Gauge(
    "boucle_memory_limit_bytes",
    "What they may hold together: the container's, or the machine's.",
    multiprocess_mode="livemax",
)


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
    """The metrics of what is answered before the framework, settled a few times a second and before every scrape.

    A batch, which is rare and slow, does without.
    """

    def __init__(self) -> None:
        self._requests = Bulk(REQUEST_SECONDS.labels("/predict"))
        self._feedback = Bulk(REQUEST_SECONDS.labels("/feedback"))
        self._predictions: dict[str, Bulk] = {}
        self.in_flight = self._told_in_flight = 0  # feedback that waits for its commit; a prediction never waits
        self.request = self._requests.observe
        self.feedback = self._feedback.observe

    def prediction(self, version: str, seconds: float) -> None:
        """One answer of ``version``, which took its embedding and model so long."""
        bulk = self._predictions.get(version)
        if bulk is None:
            bulk = self._predictions[version] = Bulk(PREDICTION_SECONDS.labels(version))
        bulk.observe(seconds)

    def settle(self) -> None:
        """Bring everything to Prometheus."""
        IN_FLIGHT.inc(self.in_flight - self._told_in_flight)
        self._told_in_flight = self.in_flight
        answered = self._requests.settle()
        if answered:
            REQUESTS.labels("POST", "/predict", 200).inc(answered)
        acknowledged = self._feedback.settle()
        if acknowledged:
            REQUESTS.labels("POST", "/feedback", 201).inc(acknowledged)
            FEEDBACK.inc(acknowledged)
        for version, bulk in list(self._predictions.items()):
            predictions = bulk.settle()
            if predictions:
                PREDICTIONS.labels(version).inc(predictions)
            else:
                del self._predictions[version]  # it was replaced, or nobody asks; it comes back with its next answer


class Bounded(Collector):
    """What ``registry`` collects, with times of the newest versions and of ``current`` only.

    A histogram is 19 series a version, and a process that follows a year of champions has seen hundreds. They cannot
    be removed where they are kept: in files that the workers share.
    """

    def __init__(self, registry: CollectorRegistry, current: str | None) -> None:
        self._registry = registry
        self._current = current

    def collect(self) -> Iterator[Metric]:
        """The metrics of one scrape."""
        for metric in self._registry.collect():
            if metric.name == "boucle_prediction_seconds":
                kept = self._newest({sample.labels["model_version"] for sample in metric.samples})
                metric.samples = [sample for sample in metric.samples if sample.labels["model_version"] in kept]
            yield metric

    def _newest(self, versions: set[str]) -> set[str]:
        def age(version: str) -> tuple[bool, int, str]:
            number = re.findall(r"\d+", version)
            return version == self._current, int(number[-1]) if number else 0, version

        return set(sorted(versions, key=age)[-TIMED_VERSIONS:])


def exposition(current: str | None) -> bytes:
    """All metrics of all workers, in Prometheus' text format; ``current`` is the version in service."""
    registry = ONE_PROCESS
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(Bounded(registry, current))


def weigh() -> None:
    """Tell how much memory this worker holds, and how much there may be."""
    if not STATM.exists():
        return  # no Linux
    resident_pages = int(STATM.read_text().split()[1])
    RESIDENT_MEMORY.set(resident_pages * os.sysconf("SC_PAGE_SIZE"))
    MEMORY_LIMIT.set(memory_limit())


def memory_limit() -> int:
    """The container's limit in bytes, whatever its kind of cgroup; the machine's memory if there is none."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        path = Path("/sys/fs/cgroup") / name
        if path.is_file() and (given := path.read_text().strip()).isdecimal():  # or "max"
            limits.append(int(given))
    return min(limits)


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
