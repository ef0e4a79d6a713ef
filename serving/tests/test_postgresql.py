"""The API in one process, its store in a real PostgreSQL."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support import rows_of, wait_for

pytestmark = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


@pytest.fixture
def row(home):
    return home.preparation.contract.example


def test_while_the_database_is_away_predictions_are_answered_and_nothing_acknowledged_is_lost(
    client, home, row, postgresql
):
    body = {"data": row, "prediction": "malignant", "target": "benign"}
    assert client.post("/feedback", json=body).json()["row"] == 1

    with postgresql.crashed():
        started = time.monotonic()
        predicted = client.post("/predict", json=row)
        by_identifier = {"prediction_id": predicted.json()["prediction_id"], "target": "benign"}
        refused = [client.post("/feedback", json=given) for given in (body, by_identifier)]
        seconds = time.monotonic() - started
        assert client.get("/readyz").status_code == 200

    assert predicted.status_code == 200
    assert [(answer.status_code, answer.headers["retry-after"]) for answer in refused] == [(503, "1")] * 2
    assert seconds < 5
    assert client.post("/feedback", json=body).json()["row"] == 2
    # The prediction that was made meanwhile reaches the log behind it.
    wait_for(lambda: client.post("/feedback", json=by_identifier).status_code == 201, "the log of predictions", 10)
    assert len(rows_of(home)) == 3
    assert not home.store.feedback.repair_projection()


def test_many_who_wait_while_the_database_crashes_are_all_told_and_what_was_told_201_is_there(
    client, home, row, postgresql
):
    body = {"data": row, "prediction": "malignant", "target": "benign"}

    def send(number):
        return client.post("/feedback", json=body, headers={"Idempotency-Key": str(number)})

    with ThreadPoolExecutor(20) as threads:
        sent = [threads.submit(send, number) for number in range(200)]
        wait_for(lambda: sum(one.done() for one in sent) > 20, "the first receipts")
        with postgresql.crashed():
            first = [one.result() for one in sent]
    again = [send(number) for number in range(200)]

    assert {answer.status_code for answer in first} <= {201, 503}
    assert {answer.status_code for answer in again} == {201}
    assert sorted(answer.json()["row"] for answer in again) == list(range(1, 201))
    for before, after in zip(first, again, strict=True):
        assert before.status_code == 503 or before.json()["row"] == after.json()["row"]
    assert len(rows_of(home)) == 200
    assert not home.store.feedback.repair_projection()


@pytest.mark.parametrize("text", ["\\u0000", "a\\u0000b", "\\ud800", "\\udfff\\ud800", "\\ud83d\\ude00", "'; --"])
def test_no_text_of_a_client_is_too_much_for_the_database(client, text):
    body = f'{{"prediction_id": "{text}", "target": "benign"}}'

    answer = client.post("/feedback", content=body)

    assert answer.status_code in (404, 422)


@pytest.mark.parametrize("number", [2**31 - 1, 2**31, 2**63, 10**30])
def test_no_number_of_a_run_is_too_large_for_the_database(client, number):
    assert client.get(f"/retrain/{number}").status_code in (404, 422)


def test_a_key_is_any_text_that_a_header_can_hold(client):
    answers = [client.post("/retrain", headers={"Idempotency-Key": bytes(range(0x80, 0xC0))}) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()
