"""The loop over real HTTP with real processes: two serving workers and a trainer."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import requests

from boucle.demo import draw
from boucle.store import open_store
from tests.support import on_each_database, rows_of, serving, trainer, wait_for


def runs(url):
    return requests.get(f"{url}/retrain", timeout=10).json()["runs"]


@on_each_database
def test_200_parallel_feedbacks_are_200_rows_on_the_right_predictions_and_4_requests(home):  # T1, T3
    rows = home.preparation.test_records
    lock, given = threading.Lock(), {}

    def client(name):
        session = requests.Session()
        for number in range(20):
            record = rows[(name * 20 + number) % len(rows)]
            answer = session.post(f"{url}/predict", json=record, timeout=30).json()
            target = "benign" if (name + number) % 2 else "malignant"
            body = {"prediction_id": answer["prediction_id"], "target": target}
            receipt = session.post(f"{url}/feedback", json=body, timeout=30)
            assert receipt.status_code == 201, receipt.text
            with lock:
                given[receipt.json()["row"]] = (record, target, answer["prediction"])

    with serving(home) as url, ThreadPoolExecutor(10) as pool:
        list(pool.map(client, range(10)))
        requested = runs(url)

    assert sorted(given) == list(range(1, 201))
    assert [run["trigger"] for run in requested] == ["feedback"] * 4
    for row, line in enumerate(rows_of(home), 1):
        record, target, prediction = given[row]
        cells = line.split(",")
        assert cells[-2:] == [target, prediction]
        expected = home.preparation.embedding.vectors([record])[0]
        assert np.allclose(np.array(cells[:-2], dtype=float), expected)
    assert not home.store.feedback.repair_projection()


def test_the_same_feedback_sent_50_times_at_once_is_one_row(home):  # T2
    with serving(home) as url, ThreadPoolExecutor(10) as pool:
        answer = requests.post(f"{url}/predict", json=home.preparation.test_records[0], timeout=30).json()
        body = {"prediction_id": answer["prediction_id"], "target": "benign"}
        receipts = list(pool.map(lambda _: requests.post(f"{url}/feedback", json=body, timeout=30), range(50)))

    assert {receipt.status_code for receipt in receipts} == {201}
    assert len({receipt.text for receipt in receipts}) == 1
    assert len(rows_of(home)) == 1


def test_the_loop_closes_under_load_without_a_failed_or_mixed_answer(home):  # T9, T10
    """Shifted traffic → labels → a promoted version, while clients keep asking."""
    records, labels = draw(home.preparation, 60, 0.15, np.random.default_rng(0))
    stop, failures, answers = threading.Event(), [], []

    def ask(name):
        session = requests.Session()
        while not stop.is_set():
            position = (name + len(answers)) % len(records)
            try:
                answer = session.post(f"{url}/predict", json=records[position], timeout=30)
                answer.raise_for_status()
                answers.append((position, answer.json()))
            except requests.RequestException as failure:
                failures.append(failure)

    with serving(home) as url, trainer(home), ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(ask, name) for name in range(4)]
        try:
            for record, label in zip(records[:50], labels[:50], strict=True):
                given = requests.post(f"{url}/predict", json=record, timeout=30).json()
                body = {"prediction_id": given["prediction_id"], "target": label}
                assert requests.post(f"{url}/feedback", json=body, timeout=30).status_code == 201
            run = wait_for(lambda: next((run for run in runs(url) if run["state"] == "finished"), None), "a run")
            swapped_at = len(answers)
            wait_for(
                lambda: {answer["model_version"] for _, answer in answers[-40:]} == {"v2"}, "v2 in every worker", 10
            )
            time.sleep(0.5)
        finally:
            stop.set()
        [client.result() for client in clients]

    assert (run["verdict"], run["version"]) == ("promoted", "v2")
    assert failures == []
    assert swapped_at > 0
    versions = {name: home.artifacts.load(name) for name in ("v1", "v2")}
    seen = Counter(answer["model_version"] for _, answer in answers)
    assert set(seen) == {"v1", "v2"}
    expected = {name: version.outputs(records) for name, version in versions.items()}
    for position, answer in answers:
        row = expected[answer["model_version"]][position]
        assert np.allclose(list(answer["probabilities"].values()), row, atol=1e-9)
    assert not home.store.feedback.repair_projection()


def test_counters_of_several_workers_add_up(home):  # F6
    with serving(home) as url:
        for _ in range(40):
            requests.post(f"{url}/predict", json=home.preparation.test_records[0], timeout=30)
        time.sleep(0.5)  # the other worker has settled its tally by then
        text = requests.get(f"{url}/metrics", timeout=30).text

    assert 'boucle_predictions_total{model_version="v1"} 40.0' in text


def test_a_request_under_way_is_answered_when_serving_is_told_to_stop(home):  # F7
    results = []

    def ask():
        rows = home.preparation.test_records * 40
        results.append(requests.post(f"{url}/predict/batch", json=rows, timeout=60).text.count("prediction_id"))

    with serving(home, workers=1) as url:
        asking = threading.Thread(target=ask)
        asking.start()
        time.sleep(0.5)
    asking.join()

    assert results == [114 * 40]


def test_the_history_is_as_before_after_a_restart(home):  # F11
    body = {"data": home.preparation.test_records[0], "prediction": "benign", "target": "malignant"}
    with serving(home) as url:
        for _ in range(3):
            requests.post(f"{url}/feedback", json=body, timeout=30)
    before = home.prod_data.read_bytes()
    home.prod_data.write_bytes(before[:-10])  # somebody edits the file while nothing runs

    with serving(home) as url:
        receipt = requests.post(f"{url}/feedback", json=body, timeout=30).json()

    assert receipt["row"] == 4
    assert home.prod_data.read_bytes().startswith(before)


@pytest.mark.parametrize("how", ["rollback", "retrain"])
def test_a_promotion_reaches_every_worker(home, how):
    if how == "rollback":
        home.train()
    with serving(home) as url:
        if how == "rollback":
            requests.post(f"{url}/models/v1/promote", timeout=30).raise_for_status()
        else:
            home.train()
        champion = home.artifacts.champion_version()

        def answering():
            given = [requests.get(f"{url}/readyz", timeout=30).json()["model_version"] for _ in range(20)]
            return set(given) == {champion}

        wait_for(answering, "every worker on the champion", 5)


def test_the_log_of_predictions_is_complete_after_a_stop(home):
    with serving(home) as url:
        identifiers = [
            requests.post(f"{url}/predict", json=home.preparation.test_records[0], timeout=30).json()["prediction_id"]
            for _ in range(30)
        ]

    log = open_store(home.places.database, home.places.data, 50).predictions
    assert all(log.find(identifier) for identifier in identifiers)
