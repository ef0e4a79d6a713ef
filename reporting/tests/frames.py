"""Frames and files as the stack writes them."""

from pathlib import Path

import numpy as np
import pandas as pd

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


def write(data: Path, reference: pd.DataFrame | None = None, production: pd.DataFrame | None = None) -> None:
    """Write the files that are given."""
    if reference is not None:
        reference.to_csv(data / "ref_data.csv", index=False)
    if production is not None:
        production.to_csv(data / "prod_data.csv", index=False)
