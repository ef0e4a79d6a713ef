"""Each step from raw text to a typed row, alone."""

from datetime import date, datetime

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boucle.errors import SchemaChanged
from boucle.etl.ingestion import Column, FilesSource
from boucle.etl.transformations import check_columns, check_types, complaint, latest, quoted, trimmed, typed

CONNECTION = duckdb.connect()
CONNECTION.execute("SET TimeZone = 'UTC'")
unhurried = settings(deadline=None, max_examples=50)


def value(expression, text):
    return CONNECTION.execute(f"SELECT {expression} FROM (SELECT ?::VARCHAR AS text)", [text]).fetchone()[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("  a b ", "a b"), ("\t\r\nx\n", "x"), ("", None), ("  ", None), ("NaN", None), ("-", None), (None, None)],
)
def test_trimmed(text, expected):
    assert value(trimmed("text", ["-"]), text) == expected


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("integer", "7", 7),
        ("integer", "+7.0", 7),
        ("integer", "9007199254740993", 9007199254740993),
        ("integer", "1.5", None),
        ("integer", "1e3", None),
        ("integer", "99999999999999999999", None),
        ("integer", "seven", None),
        ("number", "1e3", 1000.0),
        ("number", "0.1", 0.1),
        ("number", "inf", None),
        ("number", "1e999", None),
        ("number", "1,5", None),
        ("boolean", "TRUE", True),
        ("boolean", "0", False),
        ("boolean", "perhaps", None),
        ("date", "2024-02-29", date(2024, 2, 29)),
        ("date", "2023-02-29", None),
        ("date", "29/02/2024", None),
        ("timestamp", "2026-01-01T12:00:00Z", datetime(2026, 1, 1, 12)),
        ("timestamp", "2026-01-01 12:00:00+02:00", datetime(2026, 1, 1, 10)),
        ("timestamp", "2026-01-01 12:00:00", datetime(2026, 1, 1, 12)),
        ("timestamp", "noon", None),
        ("text", "=1+1", "=1+1"),
        ("text", "a\0b", None),
    ],
)
def test_typed(kind, text, expected):
    assert value(typed("text", kind), text) == expected


@unhurried
@given(st.text(max_size=40))
def test_no_text_whatever_fails_a_step(text):
    for kind in ("integer", "number", "boolean", "date", "timestamp", "text"):
        column = Column(name="it's \\ %", type=kind)
        value(complaint(column, "text", typed(trimmed("text", []), kind), is_key=True), text)


@unhurried
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_that_was_written_is_the_number_that_is_read(number):
    assert value(typed("text", "number"), repr(number)) == number


@unhurried
@given(st.integers(-(2**63), 2**63 - 1))
def test_an_integer_that_was_written_is_the_integer_that_is_read(number):
    assert value(typed("text", "integer"), str(number)) == number


@pytest.mark.parametrize(
    ("column", "text", "expected"),
    [
        (Column(name="n", type="integer"), "5", None),
        (Column(name="n", type="integer"), None, "n is missing"),
        (Column(name="n", type="integer", nullable=True), None, None),
        (Column(name="n", type="integer", minimum=6), "5", "n: 5 is below 6.0"),
        (Column(name="n", type="date", maximum=date(2020, 1, 1)), "2020-01-02", "n: 2020-01-02 is above 2020-01-01"),
        (Column(name="o'n", type="text", categories=("d'or", "b")), "c", "o'n: c is none of d'or, b"),
        (Column(name="o'n", type="text", categories=("d'or", "b")), "d'or", None),
    ],
)
def test_complaint(column, text, expected):
    assert value(complaint(column, "text", typed("text", column.type), is_key=False), text) == expected


def test_latest_keeps_the_last_right_row_of_each_key():
    with duckdb.connect() as connection:
        connection.execute(
            """CREATE TABLE rows AS FROM (VALUES (1, 'a', ''), (2, 'b', ''), (3, 'a', ''), (4, 'b', 'wrong'))
               AS rows(_row, k, _reason)"""
        )
        kept = connection.execute(f"SELECT _row FROM rows WHERE {latest(['k'], 'rows')} ORDER BY _row").fetchall()

    assert kept == [(2,), (3,)]


def test_a_name_may_hold_a_quote():
    name = 'a"b'

    assert CONNECTION.execute(f"SELECT 1 AS {quoted(name)}").description[0][0] == name


@pytest.fixture
def source():
    columns = (Column(name="id", type="integer"), Column(name="note", type="text", nullable=True))
    return FilesSource(name="sales", kind="files", path="x", columns=columns, key=("id",))


def test_a_column_may_be_absent_only_where_records_leave_out_what_is_null(source):
    assert check_columns(source, ["ID"], may_lack=True) == []
    assert check_columns(source, ["id", "note", "new"], may_lack=False) == ["new"]
    with pytest.raises(SchemaChanged, match="column note is missing; was it renamed to notes"):
        check_columns(source, ["id", "notes"], may_lack=False)
    with pytest.raises(SchemaChanged, match="column id is missing"):
        check_columns(source, ["note"], may_lack=True)


def test_one_wrong_value_is_a_wrong_row_and_many_are_another_type(source):
    check_types(source, ["id", "note"], (1, 0, "x", 0, 0, None))
    check_types(source, ["id", "note"], (9, 1, "x", 0, 0, None))
    with pytest.raises(SchemaChanged, match="column id holds no integer any more, such as 'x'"):
        check_types(source, ["id", "note"], (2, 0, "x", 0, 0, None))
