"""What every contender serves: one real table, four models fitted on it, and the bodies to send."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import boucle
from scripts.benchmarks.serving.server import Launch, Request
from tests.support import ROOT, Home, free_port

# Ours, and scikit-learn's as somebody writes it who does not know Boucle.
MODELS: dict[str, tuple[str, Callable[[], ClassifierMixin]]] = {
    "linear": (
        "logistic_regression",
        lambda: make_pipeline(StandardScaler(), PCA(10), LogisticRegression(max_iter=1000)),
    ),
    "forest": ("random_forest", lambda: RandomForestClassifier(100, random_state=0)),
    "boosting": ("hist_gradient_boosting", lambda: HistGradientBoostingClassifier(random_state=0)),
    "mlp": ("mlp", lambda: make_pipeline(StandardScaler(), PCA(10), MLPClassifier(max_iter=500, random_state=0))),
}
TITLES = {
    "linear": "logistic regression",
    "forest": "random forest, 100 trees",
    "boosting": "histogram gradient boosting",
    "mlp": "multi-layer perceptron",
}
PROJECT = """
[project]
name = "Benchmark"

[data]
source = "sklearn:breast_cancer"
target = "diagnosis"

[embedding]
components = 10

[training]
candidates = ["{algorithm}"]
folds = 2
seed = 42

[feedback]
k = 0

[limits]
body_bytes = 1_000_000_000
"""
MANY = 1_000
# One thread per linear-algebra call for everybody: on one core more of them only get in each other's way.
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Material:
    """A folder with all of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._copies = 0
        data = load_breast_cancer()
        self.columns = [str(name) for name in data.feature_names]
        self._rows, self._classes = data.data, data.target

    def make(self, models: list[str]) -> None:
        """Fit the models, train the projects and write the bodies."""
        self.folder.mkdir(parents=True)
        self._write("columns.json", self.columns)
        for model in models:
            algorithm, estimator = MODELS[model]
            joblib.dump(estimator().fit(self._rows, self._classes), self.pipeline(model))
            home = Home(self.folder / model).write(PROJECT.format(algorithm=algorithm))
            home.train()
            home.store.close()  # its tables are made once in a project's life, not at each start
        row, many = self._rows[0].tolist(), self._rows[np.arange(MANY) % len(self._rows)].tolist()
        named = dict(zip(self.columns, row, strict=True))
        self._write("named.json", named)
        self._write("named-many.json", [dict(zip(self.columns, one, strict=True)) for one in many])
        self._write("feedback.json", {"data": named, "prediction": "benign", "target": "malignant"})
        self._write("features.json", {"features": [row]})
        self._write("frame.json", {"dataframe_split": {"columns": self.columns, "data": [row]}})
        inputs = {"name": "predict", "shape": [1, len(row)], "datatype": "FP64", "data": row}
        self._write("open-inference.json", {"inputs": [inputs]})

    def pipeline(self, model: str) -> Path:
        """scikit-learn's fitted pipeline, pickled."""
        return self.folder / f"{model}.joblib"

    def file(self, name: str) -> Path:
        """A body, or the list of the columns."""
        return self.folder / name

    def csv(self, rows: int) -> Request:
        """So many rows as CSV: the table, over and over."""
        path = self.folder / f"{rows}.csv"
        if not path.exists():
            lines = [",".join(map(repr, row)) + "\n" for row in self._rows.tolist()]
            with path.open("w") as file:
                file.write(",".join(self.columns) + "\n")
                file.writelines(lines[number % len(lines)] for number in range(rows))
        return Request("/predict/batch", path, "text/csv")

    def home(self, model: str, database: str | None = None) -> Home:
        """A copy of Boucle's trained project, for one run."""
        return self.copy(Home(self.folder / model), database)

    def copy(self, home: Home, database: str | None = None) -> Home:
        """A home with the same content, for one run."""
        self._copies += 1
        return Home(shutil.copytree(home.folder, self.folder / f"run-{self._copies}"), database)

    def _write(self, name: str, content: object) -> None:
        self.file(name).write_text(json.dumps(content))


def serving(home: Home, workers: int = 1) -> Launch:
    """Boucle as it is started everywhere, everything on."""
    port = free_port()
    settings = {"SERVING_PORT": str(port), "SERVING_WORKERS": str(workers)}
    return Launch([sys.executable, "-m", "serving"], port, ROOT, environment(home) | settings)


def trainer(home: Home) -> Launch:
    """The trainer beside it."""
    command = [sys.executable, "-c", "from boucle.cli import main; main()", "trainer"]
    return Launch(command, 0, ROOT, environment(home))


def environment(home: Home) -> dict[str, str]:
    """What Boucle's processes of a home are told."""
    # The boucle that trained them is the one that serves them, in a checkout beside the installed one too.
    return home.environment(PYTHONPATH=f"{ROOT}:{Path(boucle.__file__).parents[1]}") | THREADS
