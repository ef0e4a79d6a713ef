"""Several worker processes on one port: nothing is shared but files and the store, and nobody can tell."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import requests

from tests.support import free_port, process, wait_for

WORKERS, SETTLED_SECONDS = 3, 0.5


def workers_of(parent: int) -> list[psutil.Process]:
    """The worker processes, once they are all there."""
    return wait_for(lambda: len(found := psutil.Process(parent).children()) == WORKERS and found, f"{WORKERS} workers")


def answer(url, record):
    # Each on a connection of its own: the kernel gives it to any worker.
    given = requests.post(f"{url}/predict", json=record, timeout=10)
    given.raise_for_status()
    return given.json()


def total(url, name):
    """The sum of a metric over its labels."""
    text = requests.get(f"{url}/metrics", timeout=10).text
    lines = [line for line in text.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def predictions(url):
    timed = total(url, "boucle_prediction_seconds_count")
    counted = total(url, "boucle_predictions_total")
    assert timed == counted
    return counted


def test_workers_share_memory_add_up_their_metrics_and_agree_on_the_version(home):
    port = free_port()
    url, record = f"http://127.0.0.1:{port}", home.preparation.test_records[0]
    manifest = home.artifacts.manifest("v1")
    contents = {name: (home.artifacts.root / "v1" / name).read_bytes() for name in manifest.files}
    second = home.artifacts.publish(manifest, contents).version
    # The usual settings: the pointer is watched every half second.
    environment = home.environment(SERVING_PORT=str(port), SERVING_WORKERS=str(WORKERS))
    with (
        process(["-m", "serving"], environment, home.folder / "serving.log") as started,
        ThreadPoolExecutor(16) as pool,
    ):
        workers = workers_of(started.pid)
        wait_for(lambda: (home.folder / "serving.log").read_text().count("serving v1") == WORKERS, "all workers")

        # Copies of the process that imported everything: most of what each holds it shares.
        for worker in workers:
            memory = worker.memory_full_info()
            assert memory.uss < 0.7 * memory.rss, memory

        list(pool.map(lambda _: answer(url, record), range(300)))
        time.sleep(SETTLED_SECONDS)
        assert predictions(url) == 300

        workers[0].send_signal(signal.SIGKILL)
        wait_for(lambda: not workers[0].is_running() or workers[0].status() == psutil.STATUS_ZOMBIE, "its end")
        workers_of(started.pid)
        assert predictions(url) == 300  # counters never go back

        # The memory of those who live, without the one who died.
        def weighed_right():
            children = psutil.Process(started.pid).children()
            alive = [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
            if len(alive) != WORKERS or workers[0] in alive:
                return False
            held = sum(worker.memory_info().rss for worker in alive)
            return 0.9 < total(url, "boucle_process_resident_memory_bytes") / held < 1.1

        wait_for(weighed_right, "the workers' memory", 20)
        assert total(url, "boucle_memory_limit_bytes") <= psutil.virtual_memory().total

        home.artifacts.promote(second, "v1", "test", "test")

        def versions():
            return {given["model_version"] for given in pool.map(lambda _: answer(url, record), range(100))}

        wait_for(lambda: versions() == {second}, "all workers to follow the pointer", 10)


def test_a_worker_starts_without_the_libraries_of_training(home):
    port = free_port()
    environment = home.environment(SERVING_PORT=str(port), SERVING_WORKERS=str(WORKERS))
    with process(["-m", "serving"], environment, home.folder / "serving.log") as started:
        worker = workers_of(started.pid)[0]
        wait_for(lambda: (home.folder / "serving.log").read_text().count("serving v1") == WORKERS, "all workers")

        loaded = Path(f"/proc/{worker.pid}/maps").read_text()

    assert "uvloop" in loaded
    assert not [name for name in ("sklearn", "pandas", "scipy", "onnxruntime") if f"/{name}/" in loaded]
