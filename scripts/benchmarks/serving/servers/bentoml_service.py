"""BentoML as its documentation shows it: a class with a typed method."""

import os

import bentoml
import joblib
import numpy as np


@bentoml.service(workers=1)
class Classifier:
    """Serves the pipeline."""

    def __init__(self) -> None:
        self.pipeline = joblib.load(os.environ["BENCH_PIPELINE"])

    @bentoml.api
    def predict(self, features: np.ndarray) -> np.ndarray:
        """The class of each row."""
        return self.pipeline.predict(features)
