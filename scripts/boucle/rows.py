"""Rows of text cells to typed values: by column where a whole chunk is right, else row by row to name each mistake."""

import csv
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from boucle.arrays import FloatArray
from boucle.contract import Category, Cell, Contract, Feature, Number, Record
from boucle.errors import FieldError, InvalidRecord

SEPARATORS = ",;\t|"
Cells = list[str] | InvalidRecord  # a line of CSV, or why it is none
Values = tuple[Cell, ...]  # one row, in the contract's order


@dataclass(frozen=True)
class Chunk:
    """Some rows of a batch in order, each as typed values or its error; ``warnings`` by position, for a few.

    ``encoded`` holds them as `boucle.encoding.encode_rows` does, where all are right and whoever read them needed it.
    """

    rows: Sequence[Values | InvalidRecord]
    warnings: dict[int, list[str]] = field(default_factory=dict)
    encoded: FloatArray | None = None


def filled(lines: Iterator[list[str]]) -> Iterator[Cells]:
    """The lines of `csv.reader` that are not empty, and what is wrong with those that are none."""
    while True:
        try:
            line = next(lines, None)
        except csv.Error as error:
            yield no_csv(error)
            continue
        if line is None:
            return
        if line:
            yield line


def no_csv(error: csv.Error) -> InvalidRecord:
    """A line that cannot be read."""
    return InvalidRecord([FieldError("row", "", f"is not CSV: {error}")])


def has_numeric_gaps(contract: Contract) -> bool:
    """Whether a number stands for a missing value, such as -999: then a cell is looked up before it is read."""
    for text in contract.missing_values:
        with suppress(ValueError):
            if math.isfinite(float(text)):
                return True
    return False


class RowReader:
    """Text cells to typed values, by column where a whole chunk is right, else row by row to name each mistake."""

    def __init__(self, columns: list[str], contract: Contract) -> None:
        self._columns = columns
        self._contract = contract
        self._features = [(columns.index(feature.name), feature) for feature in contract.features]
        self._has_numeric_gaps = has_numeric_gaps(contract)

    def chunk(self, lines: Sequence[Cells]) -> Chunk:
        """The rows of some lines."""
        try:
            return self._by_column(lines)
        except ValueError:
            return self.by_row(lines)

    def _by_column(self, lines: Sequence[Cells]) -> Chunk:
        if any(isinstance(line, InvalidRecord) for line in lines):
            raise ValueError("a line is no CSV")
        cells = list(zip(*lines, strict=True))
        if len(cells) != len(self._columns):
            raise ValueError(len(cells))
        columns, unusual = [], np.zeros(len(lines), dtype=bool)
        for position, feature in self._features:
            values, seldom = self._column(cells[position], feature)
            columns.append(values)
            unusual |= seldom
        rows = list(zip(*columns, strict=True))
        names = self._contract.names
        warned = np.flatnonzero(unusual).tolist()
        return Chunk(rows, {row: self._contract.surprises(dict(zip(names, rows[row], strict=True))) for row in warned})

    def _column(self, cells: Sequence[str], feature: Feature) -> tuple[Sequence[Cell], Any]:
        """The typed values, and where they were never seen in the reference rows; ValueError if one is wrong."""
        values = self._typed(cells, feature)
        is_missing = np.array([value is None for value in values]) if feature.nullable else np.False_
        if not feature.nullable and None in values:
            raise ValueError(feature.name)
        if isinstance(feature, Number):
            array, (lowest, highest) = np.array(values, dtype=np.float64), feature.limits  # raises at a text
            if not ((array >= lowest) & (array <= highest) | is_missing).all():
                raise ValueError(feature.name)  # also "nan": alone it may stand for a missing value
            return values, (array < feature.minimum) | (array > feature.maximum)
        kind = str if isinstance(feature, Category) else bool
        if not all(value is None or (isinstance(value, kind) and "\0" not in str(value)) for value in values):
            raise ValueError(feature.name)
        known = {None, *feature.categories} if isinstance(feature, Category) else {None, True, False}
        return values, np.array([value not in known for value in values])

    def _typed(self, cells: Sequence[str], feature: Feature) -> Sequence[Cell]:
        if isinstance(feature, Number) and not self._has_numeric_gaps:
            with suppress(ValueError):  # an empty cell, say
                return list(map(float, cells))
        return [self._contract.parse_cell(feature.name, cell) for cell in cells]

    def by_row(self, lines: Sequence[Cells]) -> Chunk:
        """The rows of some lines, each with all its mistakes."""
        rows: list[Values | InvalidRecord] = []
        warnings = {}
        for position, cells in enumerate(lines):
            try:
                record = self._record(cells)
            except InvalidRecord as error:
                rows.append(error)
                continue
            rows.append(tuple(record.values()))
            if said := self._contract.surprises(record):
                warnings[position] = said
        return Chunk(rows, warnings)

    def _record(self, cells: Cells) -> Record:
        if isinstance(cells, InvalidRecord):
            raise cells
        if len(cells) != len(self._columns):
            message = f"has {len(cells)} cells, the header line has {len(self._columns)}"
            raise InvalidRecord([FieldError("row", "", message)])
        return self._contract.validate_cells(dict(zip(self._columns, cells, strict=True)))
