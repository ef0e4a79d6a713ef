"""What the observer wrote of production, read into frames: rows of the reference, held out, served, labelled."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

FOLDER = "monitoring"
OBSERVATION = "observation.json"
TARGET, PREDICTION = "boucle.target", "boucle.prediction"


class NotReportable(Exception):
    """The data carry no verdict yet; the message says why."""


@dataclass(frozen=True)
class Window:
    """One observation and the rows that it was made of.

    Every frame has the ``features`` and behind them `TARGET` and `PREDICTION`: numbers are floats, anything else are
    strings as the file writes them, so that ``1`` and ``1.0``, or ``True`` and ``1``, are never mixed up. An unknown
    value is missing.
    """

    observation: dict[str, Any]  # as GET /monitoring answers it
    reference: pd.DataFrame
    held_out: pd.DataFrame
    served: pd.DataFrame
    labelled: pd.DataFrame
    numbers: list[str]
    categories: list[str]
    is_quantity: bool

    @property
    def features(self) -> list[str]:
        """All columns of the data, in its order."""
        return [name for name in self.reference.columns if name not in (TARGET, PREDICTION)]


def read_window(data: Path) -> Window:
    """The last observation.

    Raises:
        NotReportable: when there is none yet, or it saw too few rows for a verdict.
    """
    try:
        observation = json.loads((data / FOLDER / OBSERVATION).read_bytes())
    except FileNotFoundError:
        raise NotReportable("production was not looked at yet: is the exporter running?") from None
    if observation["drift"] is None:
        raise NotReportable(f"{observation['served']['rows']} production rows are too few for a verdict")
    kinds = {column["column"]: column["kind"] for column in observation["drift"]["columns"]}
    numbers = [name for name, kind in kinds.items() if kind == "number"]
    is_quantity = "mae" in observation["expected"]
    answers = [TARGET, PREDICTION]
    texts = [name for name, kind in kinds.items() if kind != "number"]

    def rows(name: str) -> pd.DataFrame:
        return _read(data / FOLDER / f"{name}.csv", [*numbers, *(answers if is_quantity else [])])

    return Window(
        observation,
        rows("reference"),
        rows("held_out"),
        rows("served"),
        rows("labelled"),
        numbers,
        texts,
        is_quantity,
    )


def _read(path: Path, numbers: list[str]) -> pd.DataFrame:
    # Only the empty cell is missing: a category may be called NA.
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    about = [name for name in map(str, frame) if name.startswith("boucle.") and name not in (TARGET, PREDICTION)]
    frame = frame.drop(columns=about)
    frame = frame.where(frame != "")
    return frame.assign(**{name: frame[name].astype(float) for name in numbers})
