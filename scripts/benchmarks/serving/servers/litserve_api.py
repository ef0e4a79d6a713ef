"""LitServe as its documentation shows it: setup, decode, predict, encode."""

import os

import joblib
import litserve
import numpy as np


class Classifier(litserve.LitAPI):
    """Serves the pipeline."""

    def setup(self, device: str) -> None:
        """Load it."""
        self.pipeline = joblib.load(os.environ["BENCH_PIPELINE"])

    def decode_request(self, request: dict[str, list[list[float]]]) -> np.ndarray:
        """The body's rows."""
        return np.array(request["features"])

    def predict(self, x: np.ndarray) -> np.ndarray:
        """The class of each row."""
        return self.pipeline.predict(x)

    def encode_response(self, output: np.ndarray) -> dict[str, list[int]]:
        """The answer's body."""
        return {"predictions": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Classifier(), accelerator="cpu", workers_per_device=1)
    port = int(os.environ["BENCH_PORT"])
    server.run(host="127.0.0.1", port=port, num_api_servers=1, generate_client_file=False, log_level="warning")
