"""SIGTERM under load: what serving was asked is answered, the rest is refused; nothing is reset."""

import json
import signal
import socket
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


@pytest.mark.parametrize("told", ["nothing", "half"])
def test_who_has_just_connected_may_ask_long_after_the_stop_began(home, told):
    port = free_port()
    body = json.dumps(home.preparation.test_records[0]).encode()
    request = b"POST /predict HTTP/1.1\r\nHost: serving\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    first = 0 if told == "nothing" else len(request) // 2

    with process(["-m", "serving"], home.environment(SERVING_PORT=str(port)), home.folder / "serving.log") as running:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/readyz"), "serving")
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            running.send_signal(signal.SIGTERM)
            time.sleep(1.2)  # the listening sockets are closed, and idle connections about to be
            client.sendall(request[:first])
            time.sleep(0.8)  # as if the client's machine had stood still
            client.sendall(request[first:])
            answer = client.makefile("rb").read()

        assert running.wait(10) == 0
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"connection: close" in answer
