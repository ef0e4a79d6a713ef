"""Who is measured: Boucle, what it is measured against, and the other tools."""

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from scripts.benchmarks.serving.environments import NotInstalled, install
from scripts.benchmarks.serving.material import THREADS, Material, serving
from scripts.benchmarks.serving.server import Launch, Request
from tests.support import free_port

NAIVE = "naive FastAPI + pipeline.predict"
SERVERS = Path(__file__).with_name("servers")
QUIET = {"BENTOML_DO_NOT_TRACK": "True", "RAY_USAGE_STATS_ENABLED": "0", "MLFLOW_DISABLE_TELEMETRY": "true"}
RAY_START = {"RAY_raylet_start_wait_time_s": "60"}


@dataclass(frozen=True)
class Contender:
    """One server: how it is started with a model and a number of workers, and what it is asked.

    ``feedback`` starts it with a route for feedback, which keeps its files in a folder; for whom a scenario asks that.
    """

    name: str
    title: str
    path: str
    body: str
    launch: Callable[[Material, str, int], Launch]
    feedback: Callable[[Material, Path], Launch] | None = None

    def request(self, material: Material) -> Request:
        """One row."""
        return Request(self.path, material.file(self.body))


def all_contenders(environments: Path) -> dict[str, Contender]:
    """Each by its name; the other tools are installed under ``environments`` when they are first launched."""
    launcher = _Launcher(environments)
    several = [
        Contender("boucle", "Boucle, everything on", "/predict", "named.json", _boucle),
        Contender("naive", NAIVE, "/predict", "named.json", launcher.naive, launcher.naive_feedback),
        Contender("noop", "bare ASGI no-op, the limit", "/predict", "named.json", launcher.noop),
    ]
    several += [
        Contender("mlflow", "mlflow models serve", "/invocations", "frame.json", launcher.mlflow),
        Contender("bentoml", "BentoML", "/predict", "features.json", launcher.bentoml),
        Contender("litserve", "LitServe", "/predict", "features.json", launcher.litserve),
        Contender("mlserver", "MLServer", "/v2/models/bench/infer", "open-inference.json", launcher.mlserver),
        Contender("ray", "Ray Serve", "/", "features.json", launcher.ray),
    ]
    return {contender.name: contender for contender in several}


PEERS = ("mlflow", "bentoml", "litserve", "mlserver", "ray")


def _boucle(material: Material, model: str, workers: int) -> Launch:
    return serving(material.home(model), workers)


def _environment(material: Material, model: str, port: int) -> dict[str, str]:
    pipeline, columns = material.pipeline(model), material.file("columns.json")
    files = {"BENCH_PIPELINE": str(pipeline), "BENCH_COLUMNS": str(columns), "BENCH_PORT": str(port)}
    # The folder of the server alone: a tool must not meet our modules.
    return {**files, "PYTHONPATH": str(SERVERS), **THREADS, **QUIET}


class _Launcher:
    """The others, each in its environment: the tools are started as their documentation shows, with one worker."""

    def __init__(self, environments: Path) -> None:
        self._environments = environments

    def naive(self, material: Material, model: str, workers: int) -> Launch:
        return self._uvicorn("naive", material, model, workers)

    def naive_feedback(self, material: Material, folder: Path) -> Launch:
        launch = self._uvicorn("naive_feedback", material, "linear", 1)
        return replace(launch, environment={**launch.environment, "BENCH_DATA": str(folder)})

    def noop(self, material: Material, model: str, workers: int) -> Launch:
        return self._uvicorn("noop", material, model, workers)

    def mlflow(self, material: Material, model: str, workers: int) -> Launch:
        programs, port = install("mlflow", self._environments), free_port()
        saved = material.file(f"mlflow-{model}")
        if not saved.exists():
            files = (SERVERS / "save_for_mlflow.py", material.pipeline(model), material.file("columns.json"), saved)
            save = [programs / "python", *files]
            done = subprocess.run(save, capture_output=True, text=True, check=False)  # noqa: S603  # no shell
            if done.returncode:
                raise NotInstalled(done.stderr[-300:])
        command = [str(programs / "mlflow"), "models", "serve", "--model-uri", str(saved), "--port", str(port)]
        command += ["--env-manager", "local", "--workers", str(workers)]
        return self._launch(programs, command, material, model, port)

    def bentoml(self, material: Material, model: str, workers: int) -> Launch:
        programs, port = install("bentoml", self._environments), free_port()
        command = [str(programs / "bentoml"), "serve", "bentoml_service:Classifier", "--port", str(port)]
        return self._launch(programs, command, material, model, port)

    def litserve(self, material: Material, model: str, workers: int) -> Launch:
        programs, port = install("litserve", self._environments), free_port()
        return self._launch(programs, [str(programs / "python"), "litserve_api.py"], material, model, port)

    def mlserver(self, material: Material, model: str, workers: int) -> Launch:
        programs, port = install("mlserver", self._environments), free_port()
        folder = material.file(f"mlserver-{port}")
        folder.mkdir()
        ports = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
        settings = {"host": "127.0.0.1", **ports, "parallel_workers": workers, "debug": False}
        uri = str(material.pipeline(model))
        served = {"name": "bench", "implementation": "mlserver_sklearn.SKLearnModel", "parameters": {"uri": uri}}
        (folder / "settings.json").write_text(json.dumps(settings))
        (folder / "model-settings.json").write_text(json.dumps(served))
        return self._launch(programs, [str(programs / "mlserver"), "start", str(folder)], material, model, port)

    def ray(self, material: Material, model: str, workers: int) -> Launch:
        programs, port = install("ray", self._environments), free_port()
        return self._launch(programs, [str(programs / "python"), "ray_app.py"], material, model, port)

    def _uvicorn(self, module: str, material: Material, model: str, workers: int) -> Launch:
        programs, port = install("naive", self._environments), free_port()
        command = [str(programs / "uvicorn"), f"{module}:app", "--port", str(port), "--workers", str(workers)]
        command += ["--no-access-log", "--log-level", "warning"]
        return self._launch(programs, command, material, model, port)

    def _launch(self, programs: Path, command: list[str], material: Material, model: str, port: int) -> Launch:
        environment = _environment(material, model, port) | RAY_START
        environment["PATH"] = f"{programs}:{os.environ['PATH']}"
        return Launch(command, port, SERVERS, environment)
