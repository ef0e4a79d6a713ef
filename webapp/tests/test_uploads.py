"""A file becomes rows, or a sentence that says what is wrong with it."""

import pandas as pd
import pytest

from webapp.schema import Field, Schema
from webapp.uploads import UnreadableUpload, Upload, read_upload, to_csv

SCHEMA = Schema(
    project="Cells",
    fields=(Field("radius", "number"), Field("kind", "category", choices=("A",))),
    example={"radius": 1.0, "kind": "A"},
    target="diagnosis",
    labels=("benign", "malignant"),
)


def read(text: str | bytes, name: str = "cells.csv") -> Upload:
    return read_upload(name, text if isinstance(text, bytes) else text.encode(), SCHEMA)


def test_the_target_and_unknown_columns_are_kept_from_the_model() -> None:
    upload = read("id,radius,diagnosis,kind\n7,1.5,benign,A\n8,abc,?,B\n")

    assert upload.body() == (b"radius,kind\n1.5,A\nabc,B\n", "text/csv")
    assert upload.labels == ["benign", None]
    assert upload.ignored == ("id",)


@pytest.mark.parametrize(
    "text",
    [
        '[{"radius": 1, "kind": null}, {"radius": 2, "kind": "A"}]',
        '{"radius": 1, "kind": null}\n{"radius": 2, "kind": "A"}\n',
    ],
)
def test_json_comes_as_an_array_or_line_by_line_and_keeps_its_types(text: str) -> None:
    upload = read(text)

    assert upload.rows == [{"radius": 1, "kind": None}, {"radius": 2, "kind": "A"}]
    assert upload.body()[1] == "application/x-ndjson"
    assert upload.labels is None


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_any_usual_separator_is_understood(separator: str) -> None:
    upload = read("radius,diagnosis,kind\n1.5,benign,A\n".replace(",", separator))

    assert upload.body()[0] == b"radius,kind\n1.5,A\n"


def test_a_single_json_object_is_one_row() -> None:
    assert len(read('{"radius": 1, "kind": "A"}').rows) == 1


def test_a_row_that_does_not_fit_the_header_is_named_and_the_others_are_sent() -> None:
    upload = read("radius,kind\n1,A\n2,A,B\n3,A\n")

    assert upload.sent == [1, 3]
    assert upload.body()[0] == b"radius,kind\n1,A\n3,A\n"
    assert "3 cells, the header 2" in upload.faults[2]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\x89PNG\r\n\x1a\n\x00", "is a PNG image"),
        (b"PK\x03\x04rest", "Excel"),
        ("radius,kind\n1,é\n".encode("latin-1"), "not UTF-8 .line 2."),
        ("radius,kind\n1,A\n".encode("utf-16"), "UTF-16"),
        (b"radius,kind\n", "holds no row"),
        (b"radius,radius,kind\n1,2,A\n", "twice"),
        (b"radius\n1\n", "lacks the column kind"),
        (b'[{"radius": 1,}]', "not valid JSON.*line 1"),
        (b'[{"radius": NaN}]', "NaN"),
        (b'[{"radius": "\\ud800"}]', "half a character"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[1, 2]", "not an object"),
        (b"[]", "holds no row"),
    ],
)
def test_a_wrong_file_is_refused_in_one_sentence_with_its_name(content: bytes, reason: str) -> None:
    with pytest.raises(UnreadableUpload, match=rf"^cells\.csv .*{reason}"):
        read(content)


def test_no_cell_and_no_header_of_the_download_runs_as_a_formula() -> None:
    table = pd.DataFrame({"=1+1": ["=cmd|' /C calc'!A0", "-5", "\t@sum", "plain"], "number": [-1.5, 2, 3, 4]})

    text = to_csv(table).decode()

    assert text.splitlines() == ["'=1+1,number", "'=cmd|' /C calc'!A0,-1.5", "-5,2.0", "'\t@sum,3.0", "plain,4.0"]
