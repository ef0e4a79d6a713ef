"""Realistic traffic for a running stack: predictions, their labels a while later, then a population that shifted."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import requests

from boucle.contract import Classes, Label, Number, Quantity, Record, Target
from boucle.preparation import Preparation

CALM_ROUNDS, SHIFTED_ROUNDS = 2, 6
# As if every instrument began to read 15 % of its range too high: the labels stay true, the old model errs.
SHIFT = 0.15
NOISE = 0.02
ROWS_WITHOUT_K = 50  # a round's, where no number of rows requests a training run

Answer = dict[str, Any]  # a JSON object


@dataclass(frozen=True)
class Round:
    """What was predicted in one round, before its labels were known."""

    answers: list[Answer]
    labels: list[Label]

    def quality(self, target: Target) -> str:
        """How good the predictions were: the share of right classes, or the mean absolute error of a quantity."""
        pairs = [(label, answer["prediction"]) for answer, label in zip(self.answers, self.labels, strict=True)]
        if isinstance(target, Quantity):
            return f"off by {np.mean([abs(true - predicted) for true, predicted in pairs]):.4g} on average"
        return f"{np.mean([label == predicted for label, predicted in pairs]):.0%} right"


def drive(url: str, preparation: Preparation, report: Callable[[str], None], pause_seconds: float = 0.02) -> None:
    """Send rounds of k predictions, each followed by its labels, and tell what the loop makes of them.

    The rows are drawn with repetition from the held-out test rows, their numbers jittered by 2 %.
    """
    session, random = requests.Session(), np.random.default_rng(0)
    k = session.get(f"{url}/retrain", timeout=10).json()["rows_to_next_retraining"] or ROWS_WITHOUT_K
    for number in range(CALM_ROUNDS + SHIFTED_ROUNDS):
        shifted = number >= CALM_ROUNDS
        if number == CALM_ROUNDS:
            report(f"the population shifts now: every number grows by {SHIFT:.0%} of its range")
        records, labels = draw(preparation, k, SHIFT if shifted else 0.0, random)
        answers = [_post(session, f"{url}/predict", record, pause_seconds) for record in records]
        sent = Round(answers, labels)
        quality = sent.quality(preparation.contract.target)
        report(f"{'shifted' if shifted else 'usual'} round: {k} predictions, {quality}; now their labels")
        receipts = [
            _post(session, f"{url}/feedback", {"prediction_id": answer["prediction_id"], "target": label}, 0)
            for answer, label in zip(answers, labels, strict=True)
        ]
        for run_id in [receipt["run_id"] for receipt in receipts if receipt["retraining_requested"]]:
            report(_await_run(session, url, run_id))
        k = receipts[-1]["rows_to_next_retraining"] or ROWS_WITHOUT_K
    champion = session.get(f"{url}/models", timeout=10).json()["champion"]
    report(f"done: {champion} is the champion; look at the reports and at MLflow")


def draw(
    preparation: Preparation, rows: int, shift: float, random: np.random.Generator
) -> tuple[list[Record], list[Label]]:
    """Rows of the held-out data with their true labels; numbers moved by ``shift`` of their range."""
    chosen = random.integers(0, len(preparation.test_records), rows)
    numbers = [feature for feature in preparation.contract.features if isinstance(feature, Number)]
    records = [_moved(preparation.test_records[position], numbers, shift, random) for position in chosen]
    target = preparation.contract.target
    truths = preparation.test_labels[chosen].tolist()
    return records, [target.classes[truth] if isinstance(target, Classes) else truth for truth in truths]


def _moved(record: Record, numbers: Sequence[Number], shift: float, random: np.random.Generator) -> Record:
    moved = dict(record)
    for feature in numbers:
        value = record[feature.name]
        if value is not None:
            jitter = 1 + NOISE * random.standard_normal()
            moved[feature.name] = float(value) * jitter + shift * (feature.maximum - feature.minimum)
    return moved


def _post(session: requests.Session, url: str, body: object, pause_seconds: float) -> Answer:
    answer = session.post(url, json=body, timeout=30)
    answer.raise_for_status()
    time.sleep(pause_seconds)
    content: Answer = answer.json()
    return content


def _await_run(session: requests.Session, url: str, run_id: int) -> str:
    while True:
        run = session.get(f"{url}/retrain/{run_id}", timeout=10).json()
        if run["state"] == "coalesced":
            run_id = run["coalesced_into"]
        elif run["state"] not in ("requested", "running"):
            return outcome(run)
        time.sleep(0.5)


def outcome(run: Answer) -> str:
    """How a finished training run ended, and why."""
    verdict = run["verdict"] or run["state"]
    # A challenger that lost has a version too.
    version = f" {run['version']}" if verdict == "promoted" else ""
    return f"training run {run['id']}: {verdict}{version} ({run['reason']})"
