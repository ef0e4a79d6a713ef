"""The demo's population shift is seen in every place where one may look; each number can be computed again from CSV.

Real processes, as `make run` and `make monitor` start them, at their usual intervals.
"""

import json
import re
import threading
import time

import numpy as np
import pandas as pd
import pytest
import requests
from playwright.sync_api import Page
from prometheus_client.parser import text_string_to_metric_families
from scipy.stats import wasserstein_distance
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, precision_score, recall_score

from boucle import drift
from boucle.demo import drive
from boucle.store import open_store
from tests.support import ROOT, Home, answers, free_port, process, serving, trainer, wait_for
from tests.test_alerts import environment_of, monitoring, programs  # noqa: F401
from tests.test_browser import page, webapp  # noqa: F401

PATIENCE_SECONDS = 180
SEED = 42  # training.seed
WINDOW = 200  # rows: half of those that the demo sends


class Stack:
    """Where the parts answer, and when each place showed the shift."""

    def __init__(self, home: Home, ports: dict[str, str], prometheus: str, browser: Page) -> None:
        self.home = home
        self.page = browser
        self.api, self.exporter, self.reporting = (
            f"http://127.0.0.1:{ports[f'{name}_PORT']}" for name in ("SERVING", "EXPORTER", "REPORTING")
        )
        self.prometheus = prometheus
        self.seen: dict[str, float] = {}

    def gauges(self) -> dict[tuple[str, str], float]:
        """The exporter's numbers by name and the value of their label, if they have one."""
        text = requests.get(f"{self.exporter}/metrics", timeout=10).text
        return {
            (sample.name, next(iter(sample.labels.values()), "")): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def query(self, expression: str) -> list[float]:
        answer = requests.get(f"{self.prometheus}/api/v1/query", params={"query": expression}, timeout=10).json()
        return [float(one["value"][1]) for one in answer["data"]["result"]]

    def alerts(self) -> set[str]:
        answer = requests.get(f"{self.prometheus}/api/v1/alerts", timeout=10).json()
        return {alert["labels"]["alertname"] for alert in answer["data"]["alerts"] if alert["state"] == "firing"}

    def panel(self) -> str:
        """What Grafana asks for the share of drifted columns on the dashboard of the model."""
        dashboard = json.loads((ROOT / "monitoring" / "grafana" / "dashboards" / "model.json").read_text())
        queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
        return next(query for query in queries if "boucle_drifted_columns_ratio" in query)

    def reported(self) -> float:
        """The newest share of drifted columns in Evidently's UI."""
        projects = requests.get(f"{self.reporting}/api/projects", timeout=10).json()
        if not projects:
            return 0.0
        series = {"tags": [], "metadata": {}, "metric": "evidently:metric_v2:DriftShare", "metric_labels": {}}
        answer = requests.post(
            f"{self.reporting}/api/v2/snapshots/{projects[0]['id']}/data_series_batch",
            json={"series_filter": [series]},
            timeout=10,
        ).json()
        return next((one["values"][-1] for one in answer["series"]), 0.0)

    def latest(self) -> dict:
        return requests.get(f"{self.api}/monitoring", timeout=10).json()["latest"] or {}


@pytest.fixture(scope="module")
def stack(shared_home, page):  # noqa: F811
    """The stack, after the demo: from the moment of the shift on every place is looked at."""
    home = shared_home
    ports = environment_of(home, REPORTING_PORT=str(free_port()))
    knobs = {name: value for name, value in ports.items() if name.endswith("_PORT")}
    environment = home.environment(**knobs, BOUCLE__MONITORING__WINDOW=str(WINDOW))
    with (
        serving(home, port=int(ports["SERVING_PORT"])),
        trainer(home),
        process(["-m", "monitoring.exporter"], environment, home.folder / "exporter.log"),
        process(["-m", "reporting.project"], environment, home.folder / "reporting.log"),
        monitoring(home, ports) as monitor,
        webapp(home, f"http://127.0.0.1:{ports['SERVING_PORT']}") as site,
    ):
        running = Stack(home, ports, monitor.prometheus, page)
        page.goto(f"{site}/monitoring")
        wait_for(lambda: answers(f"{running.reporting}/api/version"), "Evidently's UI")
        shifted, said = threading.Event(), []

        def report(message: str) -> None:
            said.append(message)
            if "shifts now" in message:
                shifted.set()

        demo = threading.Thread(target=drive, args=(running.api, home.preparation, report), daemon=True)
        demo.start()
        assert shifted.wait(PATIENCE_SECONDS)
        follow(running)
        demo.join(PATIENCE_SECONDS)
        assert said[-1].startswith("done")
        rows = open_store(home.places.database, home.places.data, 50).feedback.rows()
        wait_for(lambda: running.latest()["labelled"]["last_row"] == rows, "the last look")
        yield running


def follow(stack: Stack) -> None:
    """Look at every place until each has shown the shift; when it did, in seconds behind the shift."""
    started = time.monotonic()
    places = {
        "exporter": lambda: stack.gauges().get(("boucle_data_drifted", "")) == 1,
        "webapp": lambda: stack.page.locator(".st-key-vital_2").filter(has_text=re.compile("drifted")).count(),
        "alert": lambda: "DataDrift" in stack.alerts(),
        "Grafana's query": lambda: max(stack.query(stack.panel()), default=0) >= 0.3,
        "Evidently": lambda: stack.reported() >= 0.3,
    }
    while len(stack.seen) < len(places):
        assert time.monotonic() - started < PATIENCE_SECONDS, f"seen: {stack.seen}"
        for name in places.keys() - stack.seen.keys():
            if places[name]():
                stack.seen[name] = time.monotonic() - started
        time.sleep(0.5)
    print({name: f"{seconds:.0f} s" for name, seconds in stack.seen.items()})


def rows(stack: Stack, name: str) -> pd.DataFrame:
    return pd.read_csv(stack.home.places.data / "monitoring" / f"{name}.csv", float_precision="round_trip")


def test_the_shift_is_seen_everywhere(stack):
    assert len(stack.seen) == 5


def test_each_score_can_be_computed_again_from_prod_data(stack):
    assert len(rows(stack, "labelled")) == WINDOW
    wait_for(lambda: stack.gauges()["boucle_window_rows", "labelled"] == WINDOW, "the exporter")
    given = pd.read_csv(stack.home.prod_data).tail(WINDOW)
    truth, predicted = given["target"], given["prediction"]
    again = {
        "accuracy": accuracy_score(truth, predicted),
        "balanced_accuracy": balanced_accuracy_score(truth, predicted),
        "f1": f1_score(truth, predicted, average="macro"),
        "precision": precision_score(truth, predicted, average="macro"),
        "recall": recall_score(truth, predicted, average="macro"),
    }

    shown = {metric: value for (name, metric), value in stack.gauges().items() if name == "boucle_model_quality"}

    assert shown == pytest.approx(again)
    assert stack.latest()["quality"] == pytest.approx(again)


def test_each_distance_can_be_computed_again_from_the_rows(stack):
    reference, served = rows(stack, "reference"), rows(stack, "served")
    columns = [name for name in reference.columns if not name.startswith("boucle.")]
    sides = [frame[columns].to_dict("records") for frame in (reference, served)]
    moves = {move.column: move for move in drift.compare(*sides, seed=SEED)}

    gauges, latest = stack.gauges(), stack.latest()["drift"]

    for column in columns:
        assert gauges["boucle_drift_size", column] == pytest.approx(moves[column].size)
    for one in latest["columns"]:
        before, now = reference[one["column"]], served[one["column"]]
        distance = wasserstein_distance(before, now) / before.std(ddof=0)
        assert one["statistics"]["wasserstein"] == pytest.approx(distance)
        assert one["size"] == pytest.approx(moves[one["column"]].size)
    share = np.mean([move.drifted(0.25) for move in moves.values()])
    assert gauges["boucle_drifted_columns_ratio", ""] == latest["share"] == pytest.approx(share)
    assert stack.query("max(boucle_drifted_columns_ratio)") == [pytest.approx(share)]
    wait_for(lambda: stack.reported() == pytest.approx(share), "the newest report")
    assert stack.page.locator(".st-key-vital_2").filter(has_text=f"{share:.0%}").count()


def test_what_needs_no_label_or_tells_of_labels_can_be_computed_again_from_the_rows(stack):
    served, labelled, held_out = (rows(stack, name) for name in ("served", "labelled", "held_out"))
    is_right = held_out["boucle.prediction"] == held_out["boucle.target"]
    calibration = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(
        held_out["boucle.confidence"], is_right
    )
    moves = {
        name: drift.move(rows(stack, "reference")[f"boucle.{name}"].tolist(), now[f"boucle.{name}"].tolist(), SEED)
        for name, now in (("prediction", served), ("target", labelled))
    }

    gauges = stack.gauges()

    for label, share in served["boucle.prediction"].value_counts(normalize=True).items():
        assert gauges["boucle_prediction_ratio", label] == pytest.approx(share)
    for quantile in (0.5, 0.95):
        delay = labelled["boucle.delay_seconds"].quantile(quantile)
        assert gauges["boucle_label_delay_seconds", f"{quantile:g}"] == pytest.approx(delay)
    assert gauges["boucle_label_coverage_ratio", ""] == pytest.approx(served["boucle.target"].notna().mean())
    estimated = calibration.predict(served["boucle.confidence"]).mean()
    assert gauges["boucle_model_estimated_accuracy", ""] == pytest.approx(estimated)
    for name, move in moves.items():
        assert gauges[f"boucle_{name}_drift_size", ""] == pytest.approx(move.size)
        assert gauges[f"boucle_{name}_drifted", ""] == move.drifted(0.25)
