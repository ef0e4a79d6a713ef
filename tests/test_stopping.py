"""SIGTERM under load: what serving was asked is answered, the rest is refused; nothing is reset."""

import signal
import threading
import time

import pytest
import requests

from tests.support import answers, free_port, process, wait_for


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("kept", [False, True], ids=["a connection each", "kept connections"])
def test_a_stop_under_load_loses_no_request(home, workers, kept):  # F7
    port, lost, answered = free_port(), [], []
    url, record = f"http://127.0.0.1:{port}", home.preparation.test_records[0]

    def ask():
        client = requests.Session() if kept else requests
        while True:
            try:
                answer = client.post(f"{url}/predict", json=record, timeout=30)
                answer.raise_for_status()
                answered.append(answer)
            except requests.RequestException as failure:
                if "refused" not in str(failure):
                    lost.append(failure)
                return

    environment = home.environment(SERVING_PORT=str(port), SERVING_WORKERS=workers)
    for _ in range(2):
        with process(["-m", "serving"], environment, home.folder / "serving.log") as running:
            wait_for(lambda: answers(f"{url}/readyz"), "serving")
            clients = [threading.Thread(target=ask) for _ in range(8)]
            [client.start() for client in clients]
            time.sleep(1)
            running.send_signal(signal.SIGTERM)
            assert running.wait(10) == 0
            [client.join() for client in clients]

    assert lost == []
    assert len(answered) > 100
