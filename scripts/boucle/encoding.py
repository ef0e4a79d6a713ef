"""Typed values to numbers: what a contract says of its columns, without scikit-learn."""

from collections.abc import Iterable, Sequence
from itertools import starmap
from operator import itemgetter
from struct import Struct
from typing import Any

import numpy as np

from boucle.arrays import FloatArray
from boucle.contract import Boolean, Category, Cell, Contract, Feature, Number, Record

UNKNOWN = -1


def encode(contract: Contract, records: Sequence[Record]) -> FloatArray:
    """Validated records as numbers, shape (n_records, n_features): see `encode_columns`."""
    names = contract.names
    return encode_rows(contract, [[record[name] for name in names] for record in records])


def encode_columns(contract: Contract, columns: Iterable[Sequence[Cell]]) -> FloatArray:
    """Columns of typed values, in the contract's order, as numbers: shape (n_rows, n_features).

    A category is its position in the contract, `UNKNOWN` when it is new, and one past the end when it is missing: a
    category of its own. A missing number or boolean is NaN.
    """
    encoded = []
    for feature, values in zip(contract.features, columns, strict=True):
        if isinstance(feature, Category):
            positions = _positions(feature)
            encoded.append(np.array([positions.get(value, UNKNOWN) for value in values], dtype=np.float64))
        else:
            encoded.append(np.array(values, dtype=np.float64))  # None becomes NaN
    return np.stack(encoded, axis=1)


def encode_rows(contract: Contract, rows: Sequence[Sequence[Cell]]) -> FloatArray:
    """Rows of typed values in the contract's order as numbers: see `encode_columns`."""
    if any(isinstance(feature, Category) or feature.nullable for feature in contract.features):
        return encode_columns(contract, zip(*rows, strict=True) if rows else [()] * len(contract.features))
    # A quarter of what NumPy takes, which looks at the type of every value.
    packed = bytearray().join(starmap(Struct(f"{len(contract.features)}d").pack, rows))
    return np.frombuffer(packed).reshape(len(rows), len(contract.features))


def usual_range(contract: Contract) -> tuple[FloatArray, FloatArray]:
    """Lowest and highest that the reference rows showed of each column, as `encode_columns` writes it."""
    ranges = [_usual(feature) for feature in contract.features]
    return np.array([lowest for lowest, _ in ranges]), np.array([highest for _, highest in ranges])


class Columns:
    """The columns that a model computes with: numbers and booleans, imputed; then a 0 or 1 for every category."""

    def __init__(self, contract: Contract, medians: FloatArray) -> None:
        self._contract = contract
        self._medians = medians
        self._median_list: list[float] = medians.tolist()
        features = list(enumerate(contract.features))
        self._numbers = [position for position, feature in features if not isinstance(feature, Category)]
        self._categories: list[tuple[int, int, dict[object, int]]] = []  # position, first column, known values
        self.width = len(self._numbers)
        for position, feature in features:
            if isinstance(feature, Category):
                known = _positions(feature)
                self._categories.append((position, self.width, known))
                self.width += len(known)
        self._may_lack = any(contract.features[position].nullable for position in self._numbers)
        self.features = [*self._numbers]  # which feature each column is of
        for position, _, known in self._categories:
            self.features += [position] * len(known)
        # Nothing to impute and nothing to encode: values are the numbers themselves.
        self.is_plain = not self._categories and not self._may_lack
        # NumPy, which looks at the type of every value, takes three times as long to make an array of them.
        self._pack = Struct(f"{len(self._numbers)}d").pack
        # A getter of one position gives its value, of several a tuple.
        self._pick = itemgetter(*self._numbers) if len(self._numbers) > 1 else None

    def row(self, values: Sequence[Cell]) -> tuple[Sequence[float], list[int]]:
        """One row: its numbers, and the positions of the category columns that are 1."""
        numbers: Any = self._pick(values) if self._pick else [values[position] for position in self._numbers]
        if self._may_lack and None in numbers:
            numbers = [
                median if value is None else value for value, median in zip(numbers, self._median_list, strict=True)
            ]
        hot = [
            first + known[value] for position, first, known in self._categories if (value := values[position]) in known
        ]
        return numbers, hot

    def dense(self, numbers: Sequence[float], hot: Sequence[int]) -> FloatArray:
        """The same row as an array, shape (width,)."""
        if not self._categories:
            return np.frombuffer(self._pack(*numbers))
        row = np.zeros(self.width)
        row[: len(self._numbers)] = numbers
        for position in hot:
            row[position] = 1.0
        return row

    def matrix(self, encoded: FloatArray) -> FloatArray:
        """Rows as `encode_columns` writes them, as an array of shape (n_rows, width)."""
        if self.is_plain:
            return encoded
        rows = np.zeros((len(encoded), self.width))
        numbers = rows[:, : len(self._numbers)]
        numbers[:] = encoded[:, self._numbers]
        if self._may_lack:
            numbers[:] = np.where(np.isnan(numbers), self._medians, numbers)
        for position, first, _ in self._categories:
            known = np.flatnonzero(encoded[:, position] != UNKNOWN)
            rows[known, first + encoded[known, position].astype(np.int64)] = 1.0
        return rows


def _usual(feature: Feature) -> tuple[float, float]:
    match feature:
        case Number():
            return feature.minimum, feature.maximum
        case Boolean():
            return 0.0, 1.0
        case Category():
            return 0.0, float(len(feature.categories))  # `UNKNOWN` is below, a missing one is not unusual


def _positions(category: Category) -> dict[object, int]:
    positions: dict[object, int] = {name: position for position, name in enumerate(category.categories)}
    positions[None] = len(category.categories)
    return positions
