"""Typed values as numbers."""

import numpy as np
import pytest

from boucle.contract import Boolean, Category, Classes, Contract, Number
from boucle.encoding import UNKNOWN, encode

NUMBERS = tuple(
    Number(name=name, nullable=False, integer=False, minimum=0, maximum=9, median=1) for name in ("width", "height")
)
TARGET = Classes(name="kind", classes=("a", "b"))
PLAIN = Contract(features=NUMBERS, target=TARGET, example={})
MIXED = Contract(
    features=(
        *NUMBERS,
        Category(name="colour", nullable=True, categories=("green", "red")),
        Boolean(name="new", nullable=True),
    ),
    target=TARGET,
    example={},
)


@pytest.mark.parametrize("contract", [PLAIN, MIXED])
def test_no_records_are_no_rows_of_as_many_columns(contract):
    assert encode(contract, []).shape == (0, len(contract.features))


def test_a_record_is_read_by_its_names_whatever_their_order():
    assert encode(PLAIN, [{"height": 2.0, "width": 1.0}, {"width": 3.0, "height": 4.0}]).tolist() == [[1, 2], [3, 4]]


def test_categories_are_positions_and_what_is_missing_is_one_of_them_or_nan():
    records = [
        {"width": 1.0, "height": 2.0, "colour": "red", "new": True},
        {"new": None, "colour": None, "height": 4.0, "width": 3.0},
        {"width": 5.0, "height": 6.0, "colour": "blue", "new": False},
    ]

    expected = [[1, 2, 1, 1], [3, 4, 2, np.nan], [5, 6, UNKNOWN, 0]]
    np.testing.assert_array_equal(encode(MIXED, records), expected)
