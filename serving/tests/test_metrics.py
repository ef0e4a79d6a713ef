"""The metrics of a worker: counted cheaply, each version apart, and never more than a scrape can carry."""

import os

import psutil
from prometheus_client.parser import text_string_to_metric_families

from serving import metrics


def samples(current=None):
    families = text_string_to_metric_families(metrics.exposition(current).decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def timed(current=None):
    return {labels[0][1] for name, labels in samples(current) if name == "boucle_prediction_seconds_count"}


def test_each_version_is_counted_and_timed_apart():
    tally = metrics.Tally()

    for seconds in (0.001, 0.003, 2.0):
        tally.prediction("apart-v1", seconds)
    tally.prediction("apart-v2", 0.02)
    tally.settle()
    tally.prediction("apart-v1", 0.001)
    tally.settle()
    tally.settle()

    seen = samples()
    assert seen["boucle_predictions_total", (("model_version", "apart-v1"),)] == 4
    assert seen["boucle_prediction_seconds_count", (("model_version", "apart-v1"),)] == 4
    assert seen["boucle_prediction_seconds_sum", (("model_version", "apart-v1"),)] == 2.005
    assert seen["boucle_prediction_seconds_bucket", (("le", "0.005"), ("model_version", "apart-v1"))] == 3
    assert seen["boucle_prediction_seconds_count", (("model_version", "apart-v2"),)] == 1


def test_only_the_newest_versions_are_timed_and_the_one_in_service():
    tally = metrics.Tally()
    for number in range(1_000, 1_100):
        tally.prediction(f"v{number}", 0.001)
    tally.settle()

    assert timed() == {f"v{number}" for number in range(1_080, 1_100)}
    assert timed("v1000") == {"v1000", *(f"v{number}" for number in range(1_081, 1_100))}
    # Totals are of all: a sum over versions never goes back.
    assert samples()["boucle_predictions_total", (("model_version", "v1001"),)] == 1


def test_a_version_that_nobody_asks_any_more_costs_nothing_to_settle():
    tally = metrics.Tally()
    tally.prediction("settled", 0.001)

    tally.settle()
    tally.settle()

    assert tally._predictions == {}


def test_a_worker_says_what_it_holds_and_what_it_may_hold():
    metrics.weigh()

    seen = samples()
    held = psutil.Process(os.getpid()).memory_info().rss
    assert 0.8 < seen["boucle_process_resident_memory_bytes", ()] / held < 1.25
    assert held < seen["boucle_memory_limit_bytes", ()] <= psutil.virtual_memory().total
