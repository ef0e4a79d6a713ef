"""Frames and files as the stack writes them."""

from pathlib import Path

import numpy as np
import pandas as pd

from boucle.contract import Contract, Quantity, Target
from boucle.preparation import Summary

COLUMNS = [f"PCA_{number}" for number in range(1, 6)]


def reference_rows(rows: int = 400, labels: tuple[str, ...] = ("benign", "benign", "malignant")) -> pd.DataFrame:
    """Gaussian features; labels drawn evenly from ``labels``."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.standard_normal((rows, len(COLUMNS))), columns=COLUMNS)
    return frame.assign(target=random.choice(labels, rows))


def production_rows(
    rows: int = 200, labels: tuple[str, ...] = ("benign", "benign", "malignant"), shift: float = 0
) -> pd.DataFrame:
    """The same distribution, moved by ``shift`` standard deviations; about one prediction in five is a guess."""
    random = np.random.default_rng(1)
    frame = pd.DataFrame(random.standard_normal((rows, len(COLUMNS))) + shift, columns=COLUMNS)
    target = random.choice(labels, rows)
    guessed = random.random(rows) < 0.2
    return frame.assign(target=target, prediction=np.where(guessed, random.choice(labels, rows), target))


def quantities(rows: pd.DataFrame) -> pd.DataFrame:
    """The same rows with a quantity around 200 as target; its predictions, if any, are off by ten or so."""
    random = np.random.default_rng(2)
    rows = rows.assign(target=random.gamma(4, 50, len(rows)).round())
    error = 10 * random.standard_normal(len(rows))
    return rows.assign(prediction=rows["target"] + error) if "prediction" in rows else rows


def write(data: Path, reference: pd.DataFrame | None = None, production: pd.DataFrame | None = None) -> None:
    """Write the files that are given."""
    if reference is not None:
        reference.to_csv(data / "ref_data.csv", index=False)
    if production is not None:
        production.to_csv(data / "prod_data.csv", index=False)


def write_contract(data: Path, target: Target) -> None:
    """Say what the target is, as `make prepare` does."""
    summary = Summary(id="0", contract=Contract(features=(), target=target, example={}), files={})
    (data / "preparation.json").write_text(summary.model_dump_json())


def write_quantities(data: Path) -> None:
    """Reference, production and contract of a project that predicts a quantity."""
    write(data, quantities(reference_rows()), quantities(production_rows()))
    write_contract(data, Quantity(name="count", integer=True, minimum=0, maximum=900, median=180))
