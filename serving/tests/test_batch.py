"""Batches that do not fit in one chunk: rows of every kind, from every format."""

import csv
import io
import json

import anyio
import numpy as np
import pytest

from boucle.contract import Boolean, Category, Classes, Contract, Number
from boucle.encoding import encode_columns
from boucle.errors import InvalidRecord
from boucle.rows import RowReader
from serving import batch, csv_rows
from serving.predictor import UNREADABLE, Reader
from serving.problems import BodyTooLarge

CONTRACT = Contract(
    features=(
        Number(name="age", nullable=True, integer=True, minimum=18, maximum=90, median=40),
        Number(name="area", nullable=False, integer=False, minimum=0, maximum=10, median=5),
        Boolean(name="owns", nullable=True),
        Category(name="job", nullable=True, categories=("cook", "smith")),
    ),
    target=Classes(name="y", classes=("no", "yes")),
    example={"age": 20.0, "area": 1.0, "owns": True, "job": "cook"},
    missing_values=("NA", "nan"),
)
USUAL = ["30", "2.5", "true", "cook"]
# One line and whether it is right.
LINES = [
    (USUAL, True),
    (["", "2.5", "", "NA"], True),
    (["nan", " 2.5 ", " TRUE ", " smith "], True),
    (["30", "1e5", "0", "baker"], True),
    (["30", "", "1", "cook"], False),
    (["30", "nan", "1", "cook"], False),
    (["30", "inf", "1", "cook"], False),
    (["30", "1e300", "1", "cook"], False),
    (["30", "2.5", "maybe", "cook"], False),
    (["30", "2.5", "1", "co\0ok"], False),
    (["30", "2.5", "1"], False),
]


@pytest.mark.parametrize(("line", "is_right"), LINES)
def test_a_line_means_the_same_in_a_chunk_as_alone(line, is_right):
    reader = RowReader(["age", "area", "owns", "job"], CONTRACT)

    for lines in ([line], [USUAL] * 3 + [line]):
        chunk = reader.chunk(lines)
        expected = reader.by_row(lines)
        assert [error_or(row) for row in chunk.rows] == [error_or(row) for row in expected.rows]
        assert chunk.warnings == expected.warnings
        assert isinstance(chunk.rows[-1], InvalidRecord) != is_right


def test_a_number_that_stands_for_a_missing_value_is_one_in_every_reading():
    gaps = Contract(features=CONTRACT.features, target=CONTRACT.target, example={}, missing_values=("NA", "-999"))
    reader = RowReader(["age", "area", "owns", "job"], gaps)
    lines = [["-999", "2.5", "true", "cook"], ["30", "-999", "true", "cook"]]

    for line in lines:
        assert [error_or(row) for row in reader.chunk([line]).rows] == [
            error_or(row) for row in reader.by_row([line]).rows
        ]
    assert reader.chunk(lines[:1]).rows == [(None, 2.5, True, "cook")]
    assert isinstance(reader.chunk(lines[1:]).rows[0], InvalidRecord)


def test_a_line_of_numbers_is_not_read_as_json_where_a_number_means_nothing():
    numbers = (Number(name="area", nullable=False, integer=False, minimum=-5, maximum=10, median=5),)
    contract = Contract(features=numbers, target=CONTRACT.target, example={}, missing_values=("-1",))

    (chunk,) = csv_rows.csv_chunks(io.BytesIO(b"area\n3\n-1\n"), contract)

    assert chunk.rows[0] == (3.0,)
    assert isinstance(chunk.rows[1], InvalidRecord)


@pytest.mark.parametrize("parts", [[b"a\xc3", b"(x"], [b"ab", b"c\xff"], [b"abc\xe9"]])
def test_the_place_of_a_wrong_byte_is_counted_from_the_beginning_of_the_body(parts, tmp_path):
    async def body():
        for part in parts:
            yield part

    with pytest.raises(UnicodeDecodeError) as expected:
        b"".join(parts).decode()
    with pytest.raises(InvalidRecord, match=f"at position {expected.value.start};"):
        anyio.run(batch.spool, body(), tmp_path, 1_000)


def test_a_body_that_the_disk_has_no_room_for_is_refused(tmp_path):
    async def body():
        yield b"x\n" * 600_000  # more than is kept in memory

    with pytest.raises(BodyTooLarge, match="no room for the body"):
        anyio.run(batch.spool, body(), tmp_path / "a folder that is not there", 10_000_000)


@pytest.mark.parametrize(("media_type", "start"), [("text/csv", b""), ("application/x-ndjson", b'{"a": "')])
def test_a_line_that_would_fill_the_memory_is_refused(client, media_type, start):
    content = (start + b"x" * 100_000 if number == 0 else b"x" * 100_000 for number in range(105))

    answer = client.post("/predict/batch", content=content, headers={"Content-Type": media_type})

    assert answer.status_code == 413
    assert "a line, or a JSON array, may have 10,000,000 bytes" in answer.json()["detail"]


def test_brackets_by_the_thousand_and_wrong_bytes_are_problems(client):
    for content in (b"[" * 20_000, b'[{"a":' + b"[" * 20_000):
        assert client.post("/predict/batch", content=content, headers={"Content-Type": batch.JSON}).status_code == 422


def error_or(row):
    return str(row) if isinstance(row, InvalidRecord) else row


def test_columns_in_another_order_are_put_in_the_contracts():
    chunk = RowReader(["job", "owns", "area", "age"], CONTRACT).chunk([USUAL[::-1]])

    assert chunk.rows == [(30.0, 2.5, True, "cook")]


DATA = [
    {"age": 30, "area": 2.5, "owns": True, "job": "cook"},
    {"age": None, "area": 0, "owns": None, "job": None},
    {"age": 91, "area": 10.5, "owns": False, "job": "baker"},
    {"job": "smith", "owns": False, "area": 1e-3, "age": 18.0},
]


def of(*features):
    return Contract(features=features, target=CONTRACT.target, example={})


PLAIN = of(CONTRACT.features[1], Boolean(name="owns", nullable=False))


@pytest.mark.parametrize("contract", [CONTRACT, PLAIN])
def test_data_that_are_read_together_mean_what_each_means_alone(contract):
    data = [
        {name: one[name] for name in contract.names} for one in DATA if contract is CONTRACT or one["owns"] is not None
    ]
    reader = Reader(contract)

    chunk = reader.chunk(reader.read_many(json.dumps(data)))

    alone = [reader.read(json.dumps(one)) for one in data]
    assert [(row, chunk.warnings.get(number, [])) for number, row in enumerate(chunk.rows)] == alone
    columns = zip(*chunk.rows, strict=True)
    assert np.array_equal(chunk.encoded, encode_columns(contract, columns), equal_nan=True)


def test_one_mistake_among_data_that_are_read_together_is_noticed():
    with pytest.raises(UNREADABLE):
        Reader(CONTRACT).read_many(json.dumps([*DATA, DATA[0] | {"area": "big"}]))


def test_brackets_in_a_line_of_numbers_are_a_mistake_and_no_further_row():
    numbers = of(CONTRACT.features[1], CONTRACT.features[1].model_copy(update={"name": "height"}))
    lines = b"area,height\n1,2\n1,2],[1,2\n3,4\n"

    (chunk,) = csv_rows.csv_chunks(io.BytesIO(lines), numbers)

    assert [isinstance(row, InvalidRecord) for row in chunk.rows] == [False, True, False]
    assert chunk.rows[2] == (3.0, 4.0)


def write(rows, kind):
    if kind == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, rows[0])
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().encode(), "text/csv"
    if kind == "ndjson":
        return "\n".join(map(json.dumps, rows)).encode(), "application/x-ndjson"
    return json.dumps(rows).encode(), "application/json"


@pytest.mark.parametrize("kind", ["csv", "ndjson", "json"])
def test_many_chunks_keep_their_order_their_mistakes_and_their_warnings(client, home, kind):
    preparation = home.preparation
    rows = [preparation.test_records[number % 100] for number in range(1_700)]
    rows[700] = rows[700] | {"mean area": "big"}
    rows[1_234] = rows[1_234] | {"mean area": 1e5}
    body, media_type = write(rows, kind)

    answer = client.post("/predict/batch", content=body, headers={"Content-Type": media_type})

    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["row"] for line in lines] == list(range(1, 1_701))
    assert [line["row"] for line in lines if "error" in line] == [701]
    assert [line["row"] for line in lines if line.get("warnings")] == [
        number for number, row in enumerate(rows, 1) if number != 701 and preparation.contract.surprises(row)
    ]
    alone = client.post("/predict", json=rows[50]).json()
    assert lines[50]["probabilities"] == pytest.approx(alone["probabilities"])


def test_every_row_of_a_batch_is_logged_and_takes_feedback(client, home):
    rows = home.preparation.test_records[:60]
    body, media_type = write(rows, "csv")
    answer = client.post("/predict/batch", content=body, headers={"Content-Type": media_type})
    identifiers = [json.loads(line)["prediction_id"] for line in answer.text.splitlines()]

    receipt = client.post("/feedback", json={"prediction_id": identifiers[-1], "target": "benign"})

    assert receipt.status_code == 201
    assert home.store.predictions.count() == 60
    assert home.store.predictions.find(identifiers[17]).input == rows[17]


def test_a_json_array_is_limited_as_it_is_held_in_memory(client):
    answer = client.post("/predict/batch", content=b"[" + b" " * 10_000_000, headers={"Content-Type": batch.JSON})

    assert answer.status_code == 413
    assert "send NDJSON or CSV" in answer.json()["detail"]


def test_a_long_csv_is_not(client, home):
    row = home.preparation.test_records[0]
    body, media_type = write([row], "csv")
    body += b"\n" * 11_000_000  # short lines

    answer = client.post("/predict/batch", content=body, headers={"Content-Type": media_type})

    assert answer.status_code == 200
    assert len(answer.text.splitlines()) == 1


def test_what_is_not_utf8_far_behind_is_named_before_anything_is_answered(client, home):
    body, media_type = write(home.preparation.test_records[:50] * 40, "csv")
    body += "naïve".encode("latin-1")

    answer = client.post("/predict/batch", content=body, headers={"Content-Type": media_type})

    assert answer.status_code == 422
    assert f"byte 0xEF at position {len(body) - 3}" in answer.json()["detail"]


def test_a_cell_without_an_end_ends_the_batch_with_an_error(client, home):
    body, media_type = write(home.preparation.test_records[:3], "csv")
    body += b'"' + b"x" * 200_000

    answer = client.post("/predict/batch", content=body, headers={"Content-Type": media_type})

    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert ["error" in line for line in lines] == [False, False, False, True]
    assert "is not CSV" in lines[3]["error"]["detail"]
    assert lines[3]["row"] == 4
