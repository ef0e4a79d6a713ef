"""Rows, and the files that the observer writes of them: its own code makes them, from rows that are made up."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from boucle import files
from boucle.config import Project
from boucle.contract import Category, Classes, Contract, Number, Quantity, Target
from boucle.monitoring import windows
from boucle.monitoring.observation import FOLDER, OBSERVATION, Observation
from boucle.monitoring.observe import observe
from boucle.monitoring.windows import Reference, Row, Windows

NUMBERS = ("width", "height", "weight", "=sum")
COLORS = ("blue", "green", "red")
DIAGNOSIS = Classes(name="diagnosis", classes=("benign", "malignant"))
COUNT = Quantity(name="count", integer=True, minimum=0, maximum=900, median=180)


def contract(target: Target = DIAGNOSIS) -> Contract:
    """Four numbers of a standard normal distribution, and a color."""
    numbers = [Number(name=name, nullable=True, integer=False, minimum=-4, maximum=4, median=0) for name in NUMBERS]
    color = Category(name="color", nullable=True, categories=COLORS)
    return Contract(features=(*numbers, color), target=target, example={})


def made_up(count: int, target: Target = DIAGNOSIS, shift: float = 0.0, seed: int = 1) -> list[Row]:
    """Rows moved by ``shift`` standard deviations; one answer in five is a guess, and a quantity is off by ten."""
    random = np.random.default_rng(seed)
    return [_row(number + 1, target, shift, random) for number in range(count)]


def _row(number: int, target: Target, shift: float, random: np.random.Generator) -> Row:
    numbers = dict(zip(NUMBERS, (random.standard_normal(len(NUMBERS)) + shift).tolist(), strict=True))
    record = {**numbers, "color": str(random.choice(COLORS))}
    if isinstance(target, Classes):
        truth, guess = random.choice(target.classes, 2).tolist()
        return Row(
            record, guess if random.random() < 0.2 else truth, truth, str(number), "2026-01-01", "v1", number, 0.9
        )
    truth = float(round(random.gamma(4, 50)) + 1)
    return Row(record, truth + 10 * random.standard_normal(), truth, str(number), "2026-01-01", "v1", number)


def write(
    data: Path,
    labelled: Sequence[Row] | None = None,
    served: Sequence[Row] | None = None,
    target: Target = DIAGNOSIS,
) -> Observation:
    """What the observer writes of these rows; the served ones are the labelled ones if they are not others."""
    labelled = made_up(200, target) if labelled is None else labelled
    reference = Reference(contract(target), made_up(400, target, seed=2), made_up(150, target, seed=3))
    seen = Windows(list(labelled if served is None else served), list(labelled))
    project = Project.model_validate({"data": {"source": "made up", "target": target.name}})
    observation = observe(datetime.now(UTC), "v1", reference, seen, project)
    windows.write(data, reference, seen)
    files.replace(data / FOLDER / OBSERVATION, observation.model_dump_json().encode())
    return observation


def with_cell(rows: Sequence[Row], count: int, name: str, value: float | str | None) -> list[Row]:
    """The same rows, the first ``count`` with this value in a column."""
    changed = [replace(row, input={**row.input, name: value}) for row in rows[:count]]
    return [*changed, *rows[count:]]
