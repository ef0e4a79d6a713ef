"""How near a diagnosis dates a change, and how often it calls a loss sure where there is none.

python -m scripts.benchmarks.diagnosis: the rows are those of the prepared project, numbers only.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import typer

from boucle import drift, preparation
from boucle.config import Places, load_project
from boucle.contract import Classes, Number
from boucle.monitoring import onset, segments
from boucle.monitoring.windows import Row
from boucle.preparation import Preparation

SHIFTS = (0.5, 1.0, 2.0)
ROWS, TRIALS, TABLES = 500, 100, 400
ERROR_RATE = 0.1
EFFECT = 0.25


def main() -> None:
    """Print both figures."""
    places = Places()
    load_project(places.project)
    prepared = preparation.load(places.data)
    for shift in SHIFTS:
        _onsets(prepared, shift)
    _losses(prepared)


def _onsets(prepared: Preparation, shift: float) -> None:
    """One column moves by ``shift`` standard deviations at a random one of the last 500 rows."""
    random = np.random.default_rng(0)
    names = [one.name for one in prepared.contract.features if isinstance(one, Number) and not one.nullable]
    misses: list[int] = []
    lost = 0
    for _ in range(TRIALS):
        name = str(random.choice(names))
        column = np.array([record[name] for record in prepared.reference_records], dtype=float)
        served, place = random.choice(column, ROWS), int(random.integers(50, ROWS - 50))
        served[place:] += shift * column.std()
        is_far = partial(_is_far, column.tolist())
        found = onset.onset(column.tolist(), served.tolist(), is_far)
        lost += found is None
        misses += [] if found is None else [abs(found - place)]
    half, most = np.quantile(misses, [0.5, 0.9])
    typer.echo(
        f"shift by {shift:g} deviations: off by {half:.0f} rows (median), {most:.0f} (90%); "
        f"not dated {lost} of {TRIALS}"
    )


def _is_far(known: list[float], values: list[float]) -> bool:
    return drift.move(known, values, 0).drifted(EFFECT)


def _losses(prepared: Preparation) -> None:
    """Held out and now, the answers are wrong equally often, whatever the row."""
    random = np.random.default_rng(0)
    target = Classes(name="y", classes=("a", "b"))
    known = [Row(record, "a", "a") for record in prepared.reference_records]
    held_out = [Row(record, "a", "a") for record in prepared.test_records]
    sure = 0
    for _ in range(TABLES):
        before = [replace(row, target=_truth(random)) for row in held_out]
        now = [replace(known[place], target=_truth(random)) for place in random.integers(0, len(known), ROWS)]
        sure += any(one.is_sure for one in segments.compare(target, prepared.contract.features, known, before, now))
    typer.echo(f"nothing lost: {sure} of {TABLES} tables call a loss sure")


def _truth(random: np.random.Generator) -> str:
    return "b" if random.random() < ERROR_RATE else "a"


if __name__ == "__main__":
    main()
