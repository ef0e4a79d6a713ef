"""What serving's histogram says of the latency, against Prometheus' own formula and by hand."""

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from webapp.latency import WINDOW, Reading, Readings, parse, quantile

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def exposition(seconds, route="/predict"):
    registry = CollectorRegistry()
    histogram = Histogram(
        "boucle_http_request_seconds", "", ["route"], buckets=(0.001, 0.01, 0.1, 1), registry=registry
    )
    for value in seconds:
        histogram.labels(route).observe(value)
    return generate_latest(registry).decode()


def reading(seconds_after_noon, counts):
    return Reading(
        NOON + timedelta(seconds=seconds_after_noon), tuple(zip((0.01, 0.1, float("inf")), counts, strict=True))
    )


def test_the_buckets_of_predict_are_read_from_what_a_real_client_library_writes():
    assert parse(exposition([0.0005, 0.005, 0.005, 5])) == (
        (0.001, 1.0),
        (0.01, 3.0),
        (0.1, 3.0),
        (1.0, 3.0),
        (float("inf"), 4.0),
    )


@pytest.mark.parametrize("text", ["", "# HELP x\nx 1\n", exposition([0.1], "/predict/batch")])
def test_without_predictions_there_are_no_buckets(text):
    assert parse(text) == ()
    readings = Readings()
    readings.add(Reading(NOON, parse(text)))
    assert readings.latency() is None


def test_a_quantile_is_interpolated_within_its_bucket_and_never_infinite():
    buckets = ((0.01, 90.0), (0.1, 100.0), (float("inf"), 100.0))

    assert quantile(buckets, 0.5) == pytest.approx(0.01 * 50 / 90)
    assert quantile(buckets, 0.99) == pytest.approx(0.01 + 0.09 * 0.9)
    assert quantile(((0.01, 1.0), (float("inf"), 100.0)), 0.99) == 0.01


def test_what_counts_is_what_came_between_the_readings():
    readings = Readings()
    readings.add(reading(0, (0, 1_000, 1_000)))
    readings.add(reading(30, (200, 1_200, 1_200)))

    found = readings.latency()

    assert (found.requests, found.seconds) == (200, 30)
    assert found.p99 < 0.01


def test_few_requests_between_the_readings_are_judged_with_all_that_came_before():
    readings = Readings()
    readings.add(reading(0, (500, 500, 500)))
    readings.add(reading(5, (510, 510, 510)))

    found = readings.latency()

    assert (found.requests, found.seconds) == (510, None)


def test_readings_of_long_ago_are_forgotten_and_a_restart_of_serving_begins_anew():
    readings = Readings()
    for minute in range(20):
        readings.add(reading(60 * minute, (minute, minute, minute)))
    assert readings.kept[-1].at - readings.kept[0].at == WINDOW

    readings.add(reading(60 * 20, (3, 3, 3)))
    assert len(readings.kept) == 1


def test_predictions_after_a_moment_are_noticed_by_two_later_readings_only():
    readings = Readings()
    readings.add(reading(0, (5, 5, 5)))
    readings.add(reading(10, (9, 9, 9)))

    assert readings.came_after(NOON - timedelta(seconds=1))
    assert not readings.came_after(NOON + timedelta(seconds=1))
