"""The stack in Docker Compose as a newcomer starts it: in a copy of this folder, with ports and a name of its own."""

import json
import os
import re
import shutil
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import requests

from boucle import preparation
from tests.support import ROOT, free_port, wait_for

NAME = "boucle-e2e"
KNOBS = re.findall(r"(?m)^([A-Z_]+)=", (ROOT / ".env.example").read_text())
PORTS = {
    "SERVING_PORT": "serving-api",
    "WEBAPP_PORT": "webapp",
    "REPORTING_PORT": "reporting",
    "MLFLOW_PORT": "mlflow",
    "PROMETHEUS_PORT": "prometheus",
    "ALERTMANAGER_PORT": "alertmanager",
    "GRAFANA_PORT": "grafana",
}


class Stack:
    """A copy of the repository, and the containers that run from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {service: free_port() for service in PORTS.values()}
        # As an operator does: what differs from the defaults stands in .env.
        knobs = {name: str(self.ports[service]) for name, service in PORTS.items()}
        knobs["REPORTING_INTERVAL_SECONDS"] = "2"
        folder.mkdir(parents=True)
        for name in output("git", "ls-files", "-co", "--exclude-standard", cwd=ROOT).splitlines():
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        # One request for each hundred rows and no other: the load asks one row over and over, which is a drift.
        project = (folder / "project.toml").read_text().replace("enabled = true", "enabled = false")
        (folder / "project.toml").write_text(re.sub(r"(?m)^k = \d+", "k = 100", project))
        (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in knobs.items()))
        for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "Copy"]):
            output("git", "-c", "user.name=e2e", "-c", "user.email=e2e@localhost", *arguments, cwd=folder)

    @property
    def environment(self) -> dict[str, str]:
        # What make has exported on the way here is not what a newcomer's shell holds, and Compose heeds it before .env.
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name not in KNOBS and not re.match("MAKE|MFLAGS|BOUCLE_|SERVING_|EXPORTER_|REPORTING_|MLFLOW_", name)
        }
        return {**inherited, "COMPOSE_PROJECT_NAME": NAME, "BOUCLE_IMAGES": NAME}

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.ports[service]}"

    @property
    def api(self) -> str:
        return self.url("serving-api")

    def run(self, *command: str, check: bool = True, **more: str) -> subprocess.CompletedProcess:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**self.environment, **more},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=1200,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout[-5000:]
        return done

    def make(self, *targets: str, **more: str) -> str:
        return self.run("make", "--no-print-directory", *targets, **more).stdout

    def compose(self, *arguments: str) -> str:
        return self.run("docker", "compose", *arguments).stdout

    def remove(self) -> None:
        """Everything of it, also the volumes and what it wrote; the images' layers stay in the build cache."""
        self.run("docker", "compose", "down", "--volumes", "--remove-orphans", "--timeout", "5", check=False)
        images = self.run("docker", "images", "--quiet", f"{NAME}/*", check=False).stdout.split()
        self.run("docker", "rmi", "--force", *set(images), check=False)

    def container(self, service: str) -> str:
        labels = {"project": NAME, "service": service, "oneoff": "False"}
        filters = [f"--filter=label=com.docker.compose.{name}={value}" for name, value in labels.items()]
        return output("docker", "ps", "--all", "--quiet", *filters).strip()

    def inspect(self, service: str) -> dict:
        return json.loads(output("docker", "inspect", self.container(service)))[0]

    def address(self, container: str) -> str:
        networks = json.loads(output("docker", "inspect", container))[0]["NetworkSettings"]["Networks"]
        return networks[f"{NAME}_prod_net"]["IPAddress"]

    def wait_healthy(self, service: str, seconds: float = 120) -> None:
        wait_for(lambda: self.inspect(service)["State"]["Health"]["Status"] == "healthy", f"{service} healthy", seconds)

    # What the stack says of itself.

    def get(self, path: str) -> dict:
        return requests.get(f"{self.api}{path}", timeout=30).json()

    def prometheus(self, query: str) -> list[dict]:
        answer = requests.get(f"{self.url('prometheus')}/api/v1/query", params={"query": query}, timeout=30)
        return answer.json()["data"]["result"]

    def mlflow_champion(self) -> str | None:
        """Our name of the version that MLflow's alias `champion` stands for."""
        url = f"{self.url('mlflow')}/api/2.0/mlflow/registered-models/alias"
        answer = requests.get(url, params={"name": "breast-cancer", "alias": "champion"}, timeout=30).json()
        tags = {tag["key"]: tag["value"] for tag in answer.get("model_version", {}).get("tags", [])}
        return tags.get("version")

    def sql(self, query: str) -> str:
        arguments = ("psql", "--username=boucle", "--dbname=boucle", "--tuples-only", "--no-align", "--command", query)
        return self.compose("exec", "-T", "postgres", *arguments).strip()

    @property
    def preparation(self) -> preparation.Preparation:
        return preparation.load(self.folder / "data")

    @property
    def prod_rows(self) -> list[str]:
        return (self.folder / "data" / "prod_data.csv").read_text().splitlines()[1:]


class Load:
    """Clients that predict all the time, each request on a connection of its own, so that every replica is asked."""

    def __init__(self, url: str, records: list, clients: int = 3, pause_seconds: float = 0.02) -> None:
        self.url = url
        self.records = records
        self.pause_seconds = pause_seconds
        self.answers: list[tuple[float, float, dict]] = []  # began, ended, answer
        self.failures: list[tuple[float, str]] = []
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(clients)
        self._clients = [self._pool.submit(self._ask, number) for number in range(clients)]

    def _ask(self, number: int) -> None:
        while not self._stop.wait(self.pause_seconds):
            number += 1
            began = time.time()
            try:
                record = self.records[number % len(self.records)]
                answer = requests.post(f"{self.url}/predict", json=record, timeout=30)
                answer.raise_for_status()
                self.answers.append((began, time.time(), answer.json()))
            except requests.RequestException as failure:
                self.failures.append((began, repr(failure)))

    def stop(self) -> None:
        self._stop.set()
        [client.result() for client in self._clients]
        self._pool.shutdown()


@contextmanager
def load(stack: Stack, **options):
    running = Load(stack.api, stack.preparation.test_records, **options)
    try:
        yield running
    finally:
        running.stop()


class Feedback:
    """A client that labels, and repeats each label until it is told that the row is stored."""

    def __init__(self, url: str, records: list) -> None:
        self.url = url
        self.records = records
        self.acknowledged: dict[str, int] = {}  # key → row
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def _send(self) -> None:
        number = 0
        while not self._stop.wait(0.1):
            number += 1
            key = f"{id(self)}-{number}"
            body = {"data": self.records[number % len(self.records)], "prediction": "benign", "target": "benign"}
            while not self._stop.is_set():
                try:
                    headers = {"Idempotency-Key": key}
                    answer = requests.post(f"{self.url}/feedback", json=body, headers=headers, timeout=10)
                except requests.RequestException:
                    time.sleep(0.2)
                    continue
                if answer.status_code == 201:
                    self.acknowledged[key] = answer.json()["row"]
                    break
                assert answer.status_code == 503, answer.text
                time.sleep(0.2)

    def stop(self) -> dict[str, int]:
        self._stop.set()
        self._thread.join()
        return self.acknowledged


def output(*command: str, cwd: Path | None = None) -> str:
    return subprocess.run(command, cwd=cwd, text=True, capture_output=True, check=True).stdout
