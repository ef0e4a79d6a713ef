"""The fast path for batches beside the documented route: whatever it answers, the route would have answered alike."""

import json

import pytest
from fastapi.testclient import TestClient

from serving import batch, hot_batch
from serving.api import create_app
from serving.predictor import _probabilities, encode
from serving.settings import Settings
from tests.support import wait_for

COUNTERS = (
    'boucle_http_requests_total{method="POST",route="/predict/batch",status="200"}',
    'boucle_http_request_seconds_count{route="/predict/batch"}',
    'boucle_prediction_seconds_count{model_version="v1"}',
)


@pytest.fixture
def handed_on(monkeypatch):
    """The requests that the fast path did not answer."""
    seen, hand_on = [], hot_batch.hand_on

    async def note(app, scope, *arguments):
        seen.append(scope["path"])
        await hand_on(app, scope, *arguments)

    monkeypatch.setattr(hot_batch, "hand_on", note)
    return seen


@pytest.fixture
def rows(home):
    return home.preparation.test_records[:50]


def lines(answer):
    return [json.loads(line) for line in answer.text.splitlines()]


def sample(client, name):
    exposition = client.get("/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in exposition if line.startswith(name + " "))


def test_both_ways_give_the_same_answer(client, rows, handed_on):
    rows[7] = rows[7] | {"mean area": 1e5}

    fast = client.post("/predict/batch", json=rows, headers={"X-Request-ID": "mine"})
    assert handed_on == []
    client.app.hot = {}
    slow = client.post("/predict/batch", json=rows, headers={"X-Request-ID": "mine"})

    for answer in (fast, slow):
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/x-ndjson"
        assert answer.headers["x-request-id"] == "mine"
    identifiers = [[line.pop("prediction_id") for line in batch] for batch in (lines(fast), lines(slow))]
    assert len({*identifiers[0], *identifiers[1]}) == 100
    without = [[line for line in lines(answer) if line.pop("prediction_id")] for answer in (fast, slow)]
    assert without[0] == without[1]
    assert without[0][7]["warnings"] == ["mean area: 100000 is outside the reference range 143.5 to 2501"]


def test_what_it_answers_is_counted_and_logged(client, home, rows, handed_on):
    before = {name: sample(client, name) for name in COUNTERS}
    predictions = 'boucle_predictions_total{model_version="v1"}'
    predicted = sample(client, predictions)

    answer = client.post("/predict/batch", json=rows)

    assert handed_on == []
    assert {name: sample(client, name) - before[name] for name in COUNTERS} == dict.fromkeys(COUNTERS, 1)
    assert sample(client, predictions) - predicted == 50
    wait_for(lambda: home.store.predictions.count() == 50, "the log")
    said = lines(answer)[17]
    logged = home.store.predictions.find(said["prediction_id"])
    assert logged.input == rows[17]
    assert (logged.prediction, logged.probabilities) == (said["prediction"], said["probabilities"])


def test_it_waits_while_the_log_is_behind(home, rows, handed_on):
    settings = Settings(watch_seconds=60, journal_capacity=60)
    with TestClient(create_app(settings, home.places)) as client:
        before = sample(client, "boucle_prediction_log_dropped_total")  # by other tests of this process
        for _ in range(8):
            assert client.post("/predict/batch", json=rows).status_code == 200

        assert sample(client, "boucle_prediction_log_dropped_total") == before
    assert home.store.predictions.count() == 400
    assert handed_on == []


def wrong(rows):
    too_many = rows * (hot_batch.CHUNK_ROWS // 50) + rows[:1]
    return {
        "a mistake in a row": (json.dumps([*rows, {"mean area": 1}]).encode(), batch.JSON, 200),
        "more than a chunk": (json.dumps(too_many).encode(), batch.JSON, 200),
        "too long": (json.dumps(rows).encode() + b" " * batch.AT_ONCE_BYTES, batch.JSON, 200),
        "NDJSON": ("\n".join(map(json.dumps, rows)).encode(), batch.NDJSON[0], 200),
        "a parameter": (json.dumps(rows).encode(), "application/json; charset=utf-8", 200),
        "no row": (b"[]", batch.JSON, 422),
        "no array": (json.dumps(rows[0]).encode(), batch.JSON, 422),
        "nothing": (b"", batch.JSON, 422),
        "brackets": (b"[" * 20_000, batch.JSON, 422),
        "no UTF-8": (b'[{"mean area": "\xff"}]', batch.JSON, 422),
        "another type": (json.dumps(rows).encode(), "text/plain", 415),
    }


@pytest.mark.parametrize("case", wrong([{}]))
def test_all_else_is_answered_by_the_documented_route(client, rows, handed_on, case):
    body, media_type, status = wrong(rows)[case]

    answer = client.post("/predict/batch", content=body, headers={"Content-Type": media_type})

    assert answer.status_code == status
    assert handed_on == ["/predict/batch"]


def test_a_failure_is_left_to_the_documented_route_which_logs_it(client, rows, handed_on, monkeypatch, caplog):
    monkeypatch.setattr(batch, "answer", lambda *_: 1 / 0)

    client.post("/predict/batch", json=rows)

    assert handed_on == ["/predict/batch"]
    assert "POST /predict/batch failed" in caplog.text


def test_before_the_first_model_the_documented_route_says_so(tmp_path, home, rows, handed_on):
    places = home.places.model_copy(update={"artifacts": tmp_path / "none"})
    with TestClient(create_app(Settings(watch_seconds=60), places), raise_server_exceptions=False) as client:
        answer = client.post("/predict/batch", json=rows)

    assert answer.status_code == 503
    assert handed_on == ["/predict/batch"]


@pytest.mark.parametrize("names", [("no", "yes"), ('say "no"', "a\nb"), ("1", "1"), ()])
def test_probabilities_are_shown_by_class_whatever_its_name(names):
    outputs = (0.25, 0.75)

    shown = encode(_probabilities(names)(*outputs))

    assert json.loads(shown) == dict(zip(names, outputs, strict=False))
