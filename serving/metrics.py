"""Every Prometheus metric of serving: name, unit, labels. Correct with several workers."""

import os
import re
from pathlib import Path

from prometheus_client import REGISTRY as ONE_PROCESS
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

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
