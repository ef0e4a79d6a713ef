"""Ray Serve as its documentation shows it: a deployment that is called with a request."""

import os

import joblib
import numpy as np
from ray import serve
from starlette.requests import Request


@serve.deployment(ray_actor_options={"num_cpus": 0.5})
class Classifier:
    """Serves the pipeline."""

    def __init__(self, path: str) -> None:
        self.pipeline = joblib.load(path)

    async def __call__(self, request: Request) -> dict[str, list[int]]:
        """The class of each row."""
        rows = np.array((await request.json())["features"])
        return {"predictions": self.pipeline.predict(rows).tolist()}


if __name__ == "__main__":
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["BENCH_PORT"])})
    serve.run(Classifier.bind(os.environ["BENCH_PIPELINE"]), blocking=True)
