"""The fast path beside the documented route: whatever it answers, the route would have answered alike."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from serving import hot_feedback
from tests.support import rows_of, wait_for

PREDICTED = {"prediction": "benign", "target": "malignant"}


@pytest.fixture
def handed_on(monkeypatch):
    """The requests that the fast path did not answer."""
    seen, hand_on = [], hot_feedback.hand_on

    async def counting(*arguments):
        seen.append(arguments)
        await hand_on(*arguments)

    monkeypatch.setattr(hot_feedback, "hand_on", counting)
    return seen


@pytest.mark.parametrize(
    "body",
    [
        b'{"prediction_id": "\xff", "target": "benign"}',
        b'{"prediction_id": "a", "target": "\xff"}',
        b'{"data":' + b"[" * 20_000,
    ],
    ids=["identifier", "target", "brackets"],
)
def test_bytes_that_nobody_can_read_are_a_problem(client, body, handed_on):
    answer = client.post("/feedback", content=body)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert handed_on


def only_by_the_route(client):
    client.app.hot = {}


def test_right_feedback_never_reaches_the_framework(client, home, handed_on):
    row = home.preparation.test_records[0]
    predicted = client.post("/predict", json=row).json()["prediction_id"]
    before = {name: sample(client, name) for name in COUNTERS}

    answers = [
        client.post("/feedback", json={"data": row, **PREDICTED}),
        client.post("/feedback", json={"data": row, **PREDICTED}, headers={"Idempotency-Key": "k"}),
        client.post("/feedback", json={"data": row, **PREDICTED}, headers={"Idempotency-Key": "k"}),
        client.post("/feedback", json={"prediction_id": predicted, "target": "benign"}),
        client.post("/feedback", json={"data": row, "prediction": "benign", "target": "a new class"}),
    ]

    assert [answer.json()["row"] for answer in answers] == [1, 2, 2, 3, 4]
    assert [answer.json()["status"] for answer in answers] == ["accepted"] * 4 + ["set aside"]
    assert handed_on == []
    assert {name: sample(client, name) - before[name] for name in COUNTERS} == dict.fromkeys(COUNTERS, 5)


COUNTERS = (
    'boucle_http_requests_total{method="POST",route="/feedback",status="201"}',
    'boucle_http_request_seconds_count{route="/feedback"}',
    "boucle_feedback_total",
)


def sample(client, name):
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name + " "))


def test_what_waits_for_a_store_that_stands_still_is_seen(client, home):
    row = home.preparation.test_records[0]

    with ThreadPoolExecutor(8) as pool, home.store.feedback._database.writing():  # a writer that takes its time
        waiting = [pool.submit(client.post, "/feedback", json={"data": row, **PREDICTED}) for _ in range(8)]
        for _ in range(5):
            client.post("/predict", json=row)
        # And the scrape itself.
        wait_for(lambda: sample(client, "boucle_http_requests_in_flight") == 9, "the feedback to be under way")
        wait_for(lambda: sample(client, "boucle_prediction_log_queue_rows") == 5, "the predictions to be queued")

    assert [answer.result().status_code for answer in waiting] == [201] * 8
    assert sample(client, "boucle_http_requests_in_flight") == 1
    wait_for(lambda: sample(client, "boucle_prediction_log_queue_rows") == 0, "the log to be written")


@pytest.mark.parametrize("key", [None, "key", "ø" * 100, "x" * 255])
def test_both_ways_write_the_same_receipt_and_know_each_others_rows(client, home, key):
    body = {"data": home.preparation.test_records[0], **PREDICTED}
    headers = {"Idempotency-Key": key.encode("latin-1")} if key else {}
    fast = client.post("/feedback", json=body, headers=headers)

    only_by_the_route(client)
    slow = client.post("/feedback", json=body, headers=headers)

    assert fast.status_code == 201
    assert (fast.status_code, fast.headers["content-type"]) == (slow.status_code, slow.headers["content-type"])
    assert list(fast.json()) == list(slow.json())
    assert (fast.json() == slow.json()) == (key is not None)
    assert len(rows_of(home)) == (1 if key else 2)


def wrong(home):
    row = home.preparation.test_records[0]
    right = {"data": row, **PREDICTED}
    return [
        (b"", {}),
        (b"[]", {}),
        (b"\xff", {}),
        ({}, {}),
        ({"data": row}, {}),
        (right | {"more": 1}, {}),
        (right | {"target": None}, {}),
        (right | {"target": 1}, {}),
        (right | {"target": ""}, {}),
        (right | {"target": "a\0b"}, {}),
        (right | {"prediction": "a new class"}, {}),
        (right | {"data": []}, {}),
        (right | {"data": row | {"mean area": "big"}}, {}),
        (right | {"data": {}}, {}),
        (right, {"Idempotency-Key": ""}),
        (right, {"Idempotency-Key": "x" * 256}),
        ({"prediction_id": "p", "target": "benign"}, {}),
        ({"prediction_id": "", "target": "benign"}, {}),
        ({"prediction_id": 1, "target": "benign"}, {}),
        ({"prediction_id": "p" * 65, "target": "benign"}, {}),
        ({"prediction_id": "a\0b", "target": "benign"}, {}),
        ({"prediction_id": "p", **right}, {}),
        (b'{"prediction_id": "\\ud800", "target": "benign"}', {}),
    ]


def test_a_mistake_is_explained_by_the_route_in_the_same_words(client, home):
    def answers():
        given = []
        for body, headers in wrong(home):
            content = body if isinstance(body, bytes) else json.dumps(body)
            answer = client.post("/feedback", content=content, headers=headers)
            given.append((answer.status_code, {**answer.json(), "request_id": ""}))
        return given

    fast = answers()
    only_by_the_route(client)

    assert fast == answers()
    assert {status for status, _ in fast} <= {404, 422}
    assert rows_of(home) == []


def test_a_conflict_is_told_once_and_nothing_is_tried_twice(client, home, handed_on):
    body, headers = {"data": home.preparation.test_records[0], **PREDICTED}, {"Idempotency-Key": "k"}
    client.post("/feedback", json=body, headers=headers)

    answer = client.post("/feedback", json=body | {"target": "benign"}, headers=headers)

    assert answer.status_code == 409
    assert len(handed_on) == 1
    assert "failure" in handed_on[0][1]
