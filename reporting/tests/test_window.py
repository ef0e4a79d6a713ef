"""What is read of an observation."""

import json
from pathlib import Path

import pytest

from reporting.tests.frames import COUNT, NUMBERS, made_up, with_cell, write
from reporting.window import PREDICTION, TARGET, NotReportable, read_window


def test_numbers_are_numbers_and_anything_else_is_text_as_the_file_writes_it(data: Path) -> None:
    window = read_window(data)

    assert (window.numbers, window.categories) == ([*window.numbers], ["color"])
    assert set(window.numbers) == set(NUMBERS)
    assert all(window.served[name].dtype == float for name in NUMBERS)
    assert set(window.served["color"]) == {"blue", "green", "red"}
    assert set(window.labelled[TARGET]) == {"benign", "malignant"}
    assert [len(rows) for rows in (window.reference, window.held_out, window.served, window.labelled)] == [
        400,
        150,
        200,
        200,
    ]


def test_the_true_values_and_answers_of_a_quantity_are_numbers(tmp_path: Path) -> None:
    write(tmp_path, target=COUNT)

    window = read_window(tmp_path)

    assert window.is_quantity
    assert window.labelled[TARGET].dtype == window.labelled[PREDICTION].dtype == float


def test_an_empty_cell_is_missing_and_a_category_called_na_is_not(tmp_path: Path) -> None:
    rows = with_cell(made_up(200), 20, "color", None)
    write(tmp_path, with_cell(rows[::-1], 30, "color", "NA"))

    colors = read_window(tmp_path).served["color"]

    assert int(colors.isna().sum()) == 20
    assert int((colors == "NA").sum()) == 30


def test_before_the_first_look_there_is_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(NotReportable, match="was not looked at yet"):
        read_window(tmp_path)


def test_few_rows_get_no_verdict(tmp_path: Path) -> None:
    write(tmp_path, made_up(49))

    with pytest.raises(NotReportable, match="49 production rows are too few"):
        read_window(tmp_path)


def test_what_the_api_answers_is_what_is_read(data: Path) -> None:
    written = json.loads((data / "monitoring" / "observation.json").read_text())

    assert read_window(data).observation == written
