"""Which rows are compared, and when none are."""

import re
from pathlib import Path

import pandas as pd
import pytest

from boucle.contract import Classes
from reporting.tests.frames import (
    production_rows,
    quantities,
    reference_rows,
    write,
    write_contract,
    write_quantities,
)
from reporting.window import NotReportable, Window, read_window


def read(data: Path, min_rows: int = 50, window_rows: int = 500) -> Window:
    return read_window(data, min_rows=min_rows, window_rows=window_rows)


def append(data: Path, text: str) -> None:
    with (data / "prod_data.csv").open("a") as file:
        file.write(text)


def test_only_the_latest_rows_are_compared(data: Path) -> None:
    window = read(data, window_rows=60)

    latest = production_rows().tail(60).reset_index(drop=True)
    pd.testing.assert_frame_equal(window.current, latest, check_dtype=False)


def test_a_half_written_last_line_is_not_a_row_yet(data: Path) -> None:
    before = read(data)

    append(data, "0.1,0.2,0.3,0.4,0.5,malignant,mali")

    window = read(data)
    assert window.current.equals(before.current)
    assert window.unusable_rows == 0


@pytest.mark.parametrize(
    "row",
    [",0,0,0,0,benign,benign", "nan,0,0,0,0,benign,benign", "inf,0,0,0,0,benign,benign", "0,0,0,0,0,,benign", "0,0"],
)
def test_a_row_with_a_wrong_value_is_left_out_and_counted(data: Path, row: str) -> None:
    append(data, row + "\n")

    window = read(data)

    assert len(window.current) == 200
    assert window.unusable_rows == 1


def test_labels_stay_as_they_are_written(data: Path) -> None:
    labels = ("True", "False", "1", "1.0", "None")
    write(data, reference_rows(labels=labels), production_rows(labels=labels))

    assert set(read(data).current["target"]) == set(labels)


def test_quantities_are_numbers(tmp_path: Path) -> None:
    write_quantities(tmp_path)

    window = read(tmp_path)

    assert window.is_quantity
    pd.testing.assert_frame_equal(window.current, quantities(production_rows()))


@pytest.mark.parametrize("row", ["0,0,0,0,0,,1", "0,0,0,0,0,1,many", "0,0,0,0,0,inf,1"])
def test_a_row_whose_quantity_is_no_number_is_left_out_and_counted(tmp_path: Path, row: str) -> None:
    write_quantities(tmp_path)
    append(tmp_path, row + "\n")

    assert read(tmp_path).unusable_rows == 1


def test_classes_that_look_like_numbers_stay_classes(data: Path) -> None:
    write(data, reference_rows(labels=("0", "1")), production_rows(labels=("0", "1")))
    write_contract(data, Classes(name="failed", classes=(0, 1)))

    window = read(data)

    assert not window.is_quantity
    assert set(window.current["target"]) == {"0", "1"}


def refused(data: Path, reason: str) -> None:
    with pytest.raises(NotReportable, match=re.escape(reason)):
        read(data)


def test_absent_files_are_waited_for(tmp_path: Path) -> None:
    refused(tmp_path, "ref_data.csv is not there yet")


def test_an_empty_file_is_waited_for(data: Path) -> None:
    (data / "prod_data.csv").write_text("")

    refused(data, "prod_data.csv has no header yet")


def test_a_file_with_only_its_header_is_waited_for(data: Path) -> None:
    write(data, production=production_rows().head(0))

    refused(data, "prod_data.csv has fewer than 50 usable rows")


def test_few_rows_get_no_verdict(data: Path) -> None:
    write(data, production=production_rows(49))

    refused(data, "prod_data.csv has fewer than 50 usable rows")


def test_files_of_two_projects_are_not_compared(data: Path) -> None:
    write(data, production=production_rows().rename(columns={"PCA_1": "LSA_1"}))

    refused(data, "prod_data.csv must have the columns of ref_data.csv, then prediction")


def test_a_reference_without_target_is_refused(data: Path) -> None:
    write(data, reference=reference_rows().drop(columns="target"))

    refused(data, "ref_data.csv must have distinct columns, the last one target")
