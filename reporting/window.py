"""The two CSV files read into one window of comparable rows, or the reason why they cannot be compared."""

import csv
import json
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

REFERENCE_FILE = "ref_data.csv"
PRODUCTION_FILE = "prod_data.csv"
PREPARATION_FILE = "preparation.json"
FILES = (REFERENCE_FILE, PRODUCTION_FILE, PREPARATION_FILE)


class NotReportable(Exception):
    """The data carry no verdict yet; the message says why."""


@dataclass(frozen=True)
class Window:
    """The reference rows and the latest production rows: features are finite floats.

    Target and prediction are finite floats where the target is a quantity. Classes stay the non-empty strings of the
    file, so that ``1`` and ``1.0``, or ``True`` and ``1``, are never mixed up.
    """

    reference: pd.DataFrame
    current: pd.DataFrame
    features: list[str]
    unusable_rows: int
    is_quantity: bool = False


def read_window(data: Path, *, min_rows: int, window_rows: int) -> Window:
    """The reference and the last ``window_rows`` production rows; rows with a wrong or missing value are left out.

    Raises:
        NotReportable: when a file is absent, the columns disagree, or too few rows are usable.
    """
    reference_header, reference_rows = _read(data / REFERENCE_FILE)
    header, rows = _read(data / PRODUCTION_FILE, last=window_rows)
    features = reference_header[:-1]
    if not features or reference_header[-1] != "target" or len(set(header)) != len(header):
        raise NotReportable(f"{REFERENCE_FILE} must have distinct columns, the last one target")
    if header != [*reference_header, "prediction"]:
        raise NotReportable(f"{PRODUCTION_FILE} must have the columns of {REFERENCE_FILE}, then prediction")

    is_quantity = _is_quantity(data / PREPARATION_FILE)
    numbers = len(header) if is_quantity else len(features)
    reference = _usable(reference_rows, reference_header[:numbers], reference_header[numbers:])
    current = _usable(rows, header[:numbers], header[numbers:])
    for name, frame in ((REFERENCE_FILE, reference), (PRODUCTION_FILE, current)):
        if len(frame) < min_rows:
            raise NotReportable(f"{name} has fewer than {min_rows} usable rows")
    return Window(reference, current, features, len(rows) - len(current), is_quantity)


def _is_quantity(path: Path) -> bool:
    """Whether the contract says so; files that come without one hold classes."""
    try:
        contract = json.loads(path.read_bytes())["contract"]
    except FileNotFoundError:
        return False
    return "classes" not in contract["target"]


def _read(path: Path, last: int | None = None) -> tuple[list[str], list[list[str]]]:
    """The header and the rows (the ``last`` ones) of a file that may be growing."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            header = file.readline()
            lines = deque(file, maxlen=None if last is None else last + 1)
    except FileNotFoundError:
        raise NotReportable(f"{path.name} is not there yet") from None
    # Its writer appends while we read: a last line without its end is not a row yet.
    if lines and not lines[-1].endswith("\n"):
        lines.pop()
    if not header.endswith("\n"):
        raise NotReportable(f"{path.name} has no header yet")
    try:
        rows = list(csv.reader(lines))
        return next(csv.reader([header])), rows if last is None else rows[-last:]
    except csv.Error as error:
        raise NotReportable(f"{path.name} is not CSV: {error}") from error


def _usable(rows: list[list[str]], numbers: list[str], texts: list[str]) -> pd.DataFrame:
    columns = [*numbers, *texts]
    frame = pd.DataFrame([row for row in rows if len(row) == len(columns)], columns=columns, dtype=str)
    parsed = frame[numbers].apply(pd.to_numeric, errors="coerce").astype(float)
    is_usable = (parsed.abs() < float("inf")).all(axis=1) & (frame[texts] != "").all(axis=1)
    usable: pd.DataFrame = pd.concat([parsed, frame[texts]], axis=1)[is_usable]
    return usable.reset_index(drop=True)
