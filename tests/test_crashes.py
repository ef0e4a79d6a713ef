"""kill -9 where it hurts: what was acknowledged stays, what is half-written is never served."""

import random
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest
import requests

from boucle.demo import draw
from boucle.store import Feedback
from tests.support import ROOT, free_port, kill, process, rows_of, serving, wait_for

KILLS = 30

# Each is a real trainer that really dies by SIGKILL, at exactly the named moment.
DEATHS = {
    "in fit": """
from boucle import models
fit = models.fit
def dying_fit(recipe, vectors, labels, n_classes):
    die()
models.fit = dying_fit
""",
    "while writing artifacts": """
from boucle import files
write = files.write_durably
def dying_write(path, content):
    write(path, content[: len(content) // 2])
    die()
files.write_durably = dying_write
""",
    "just before the pointer moves": """
from boucle import files
def dying_replace(path, content):
    die()
files.replace = dying_replace
""",
    "just behind the pointer": """
from boucle import files
replace = files.replace
def dying_replace(path, content):
    replace(path, content)
    die()
files.replace = dying_replace
""",
}

TRAINER = """
import os, signal, sys
def die():
    os.kill(os.getpid(), signal.SIGKILL)
{death}
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.support import Home
Home(Path({folder!r})).trainer.carry_out_next()
"""


@pytest.mark.parametrize("death", DEATHS)
def test_a_trainer_killed_anywhere_leaves_a_whole_champion_and_its_run_is_taken_over(home, death):  # F2
    shifted_feedback(home)
    with serving(home, workers=1) as url:
        code = TRAINER.format(death=DEATHS[death], root=str(ROOT), folder=str(home.folder))
        dead = subprocess.run([sys.executable, "-c", code], env=home.environment(), timeout=120, check=False)
        assert dead.returncode == -signal.SIGKILL
        champion = home.artifacts.champion_version()
        assert champion == ("v2" if death == "just behind the pointer" else "v1")
        wait_for(lambda: requests.get(f"{url}/readyz", timeout=5).json()["model_version"] == champion, champion)
        assert home.store.runs.get(1).state == "running"

        # The next trainer finds the lease run out, and takes the run over.
        run = wait_for(home.trainer.carry_out_next, "the lease to run out", 30)

        assert (run.id, run.attempts, run.state, run.verdict) == (1, 2, "finished", "promoted")
        assert home.artifacts.champion_version() == run.version
        wait_for(lambda: requests.get(f"{url}/readyz", timeout=5).json()["model_version"] == run.version, run.version)
    assert all(home.artifacts.load(version) for version in home.artifacts.versions())


def test_serving_killed_at_random_moments_loses_and_doubles_no_acknowledged_feedback(home):  # F1
    """The whole server, and single workers of it, die by SIGKILL while four clients send feedback."""
    randomness, port = random.Random(7), free_port()
    acknowledged, attempted, stop = {}, [], threading.Event()
    record = home.preparation.test_records[0]

    def send(name):
        number = 0
        while not stop.is_set():
            key = f"{name}-{number}"
            attempted.append(key)
            body = {"data": record, "prediction": "benign", "target": "malignant"}
            while not stop.is_set():  # a client that retries until it is told that the row is stored
                try:
                    headers = {"Idempotency-Key": key}
                    answer = requests.post(f"http://127.0.0.1:{port}/feedback", json=body, headers=headers, timeout=5)
                except requests.RequestException:
                    time.sleep(0.02)
                    continue
                assert answer.status_code == 201, answer.text
                acknowledged[key] = answer.json()["row"]
                number += 1
                break

    clients = [threading.Thread(target=send, args=[name], daemon=True) for name in range(4)]
    [client.start() for client in clients]
    kills = 0
    environment = home.environment(SERVING_PORT=str(port), SERVING_WORKERS="2")
    while kills < KILLS:
        with process(["-m", "serving"], environment, home.folder / "serving.log") as started:
            before = len(acknowledged)
            wait_for(lambda: len(acknowledged) > before, "an acknowledged row")  # noqa: B023
            for _ in range(4):  # single workers first: uvicorn replaces them, and the other one goes on
                time.sleep(randomness.uniform(0.0, 0.3))
                kills += kill_a_worker(started.pid, randomness)
            time.sleep(randomness.uniform(0.0, 0.2))
            kill(started)
            kills += 1
    stop.set()
    [client.join() for client in clients]

    feedback = home.store.feedback
    feedback.repair_projection()  # what the next start of serving does first
    assert len(set(acknowledged.values())) == len(acknowledged) > KILLS
    assert max(acknowledged.values()) <= feedback.rows() <= len(attempted)
    assert len(rows_of(home)) == feedback.rows()
    with serving(home) as url:
        for key, row in list(acknowledged.items())[-20:]:
            body = {"data": record, "prediction": "benign", "target": "malignant"}
            again = requests.post(f"{url}/feedback", json=body, headers={"Idempotency-Key": key}, timeout=30)
            assert again.json()["row"] == row
    assert len(home.store.runs.newest(10_000)) == feedback.rows() // 50


def kill_a_worker(pid, randomness):
    """Kill one of two living workers; how many were killed."""
    alive = [child for child in psutil.Process(pid).children() if child.status() != psutil.STATUS_ZOMBIE]
    workers = [child for child in alive if "spawn_main" in " ".join(child.cmdline())]
    if len(workers) < 2:
        return 0
    randomness.choice(workers).kill()
    return 1


def shifted_feedback(home):
    """Labelled rows of a shifted population: enough for a challenger to win."""
    champion, store = home.artifacts.load_champion(), home.store
    store.feedback.use(champion.embedding)
    records, labels = draw(home.preparation, 100, 0.15, np.random.default_rng(0))
    vectors = champion.embedding.vectors(records)
    items = [
        Feedback(str(number), record, vector, label, label, "v1")
        for number, (record, vector, label) in enumerate(zip(records, vectors, labels, strict=True))
    ]
    store.feedback.add(items, champion.embedding.id)
