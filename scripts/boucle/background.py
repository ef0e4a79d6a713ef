"""What a version's answers are compared with when they are explained: some of its reference rows, kept with it."""

from collections.abc import Sequence

import msgspec
import numpy as np

from boucle.contract import Boolean, Category, Cell, Contract, Feature, Number, Record

FILE = "background.json"
ROWS = 200

Rows = Sequence[Sequence[Cell]]  # values in the contract's order


def sample(records: Sequence[Record], seed: int) -> bytes:
    """The content of `FILE`: `ROWS` of the records, or all if there are fewer, drawn without replacement."""
    random = np.random.default_rng(seed)
    drawn = random.choice(len(records), min(ROWS, len(records)), replace=False)
    return msgspec.json.encode([list(records[position].values()) for position in drawn])


def read(content: bytes) -> Rows:
    """The rows in the content of `FILE`."""
    return msgspec.json.decode(content, type=list[list[float | bool | str | None]])


def typical(contract: Contract) -> Rows:
    """One row for versions that kept none: medians, false, and the first categories."""
    return [[_typical(feature) for feature in contract.features]]


def _typical(feature: Feature) -> Cell:
    match feature:
        case Number():
            return feature.median
        case Boolean():
            return False
        case Category():
            return feature.categories[0]
