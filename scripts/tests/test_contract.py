import json

import pytest

from boucle.contract import Boolean, Category, Classes, Contract, Number
from boucle.errors import InvalidRecord

CONTRACT = Contract(
    features=(
        Number(name="mean radius", nullable=False, integer=False, minimum=1, maximum=9, median=5),
        Number(name="tenure", nullable=True, integer=True, minimum=0, maximum=72, median=12),
        Boolean(name="model_config", nullable=False),  # a name that pydantic keeps for itself
        Category(name="contract", nullable=True, categories=("monthly", "yearly")),
    ),
    target=Classes(name="churn", classes=("no", "yes")),
    example={"mean radius": 5.0, "tenure": 12.0, "model_config": True, "contract": "monthly"},
    missing_values=("", "NA"),
)


def changed(**values):
    return {**CONTRACT.example, **{name.replace("_", " ", 1): value for name, value in values.items()}}


def refusal(record):
    with pytest.raises(InvalidRecord) as caught:
        CONTRACT.validate_record(record)
    return {error.field: error for error in caught.value.errors}


def test_the_example_fulfils_the_contract():
    assert CONTRACT.validate_record(CONTRACT.example) == CONTRACT.example
    assert CONTRACT.validate_json(json.dumps(CONTRACT.example).encode()) == CONTRACT.example


@pytest.mark.parametrize(
    "value", [None, "5", "NaN", True, [], {}, float("nan"), float("inf"), -float("inf"), 10**400, -(10**400)]
)
def test_a_number_that_is_none_is_refused_by_name_with_what_is_allowed(value):
    error = refusal(changed(mean_radius=value))["mean radius"]

    assert error.message == "must be a number; seen 1 to 9"


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", '"5"', "true", "1" * 4000])
def test_json_cannot_smuggle_in_what_is_no_finite_number(text):
    body = json.dumps(CONTRACT.example).replace("5.0", text, 1)

    with pytest.raises(InvalidRecord) as caught:
        CONTRACT.validate_json(body.encode())

    assert caught.value.errors[0].field == "mean radius"


@pytest.mark.parametrize("value", [-0.0, 0, 7, 7_000_000, -1e6, 5e-324])
def test_a_number_far_out_of_range_is_accepted(value):
    assert CONTRACT.validate_record(changed(mean_radius=value))["mean radius"] == value


@pytest.mark.parametrize("value", [1e300, -1e300, 9e6])
def test_a_number_that_would_overflow_the_arithmetic_is_refused(value):
    error = refusal(changed(mean_radius=value))["mean radius"]

    assert error.message == "is over a million ranges away: must be a number; seen 1 to 9"


def test_a_misspelt_column_is_named_and_the_right_one_suggested():
    record = CONTRACT.example | {"mean raduis": 5.0}
    del record["mean radius"]

    errors = refusal(record)

    assert errors["mean radius"].message == "is missing: give a number; seen 1 to 9"
    assert errors["mean raduis"].message == "is no column of this project; did you mean mean radius?"


def test_a_value_may_be_missing_only_where_the_reference_rows_lacked_some():
    assert CONTRACT.validate_record(CONTRACT.example | {"tenure": None})["tenure"] is None
    assert "or null" in refusal(CONTRACT.example | {"tenure": "long"})["tenure"].message
    assert "or null" not in refusal(changed(mean_radius=None))["mean radius"].message


def test_a_text_that_a_database_cannot_keep_is_refused():
    error = refusal(CONTRACT.example | {"contract": "year\0ly"})["contract"]

    assert error.value == '"year\\u0000ly"'
    assert error.message == "must be a text without the character NUL"


@pytest.mark.parametrize("record", [None, [], "text", 5, [CONTRACT.example]])
def test_what_is_no_object_is_refused(record):
    assert refusal(record)["body"].message == "must be an object with one value per column"


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"a": "\\ud800"}', b"[" * 100_000])
def test_broken_json_is_refused(body):
    with pytest.raises(InvalidRecord):
        CONTRACT.validate_json(body)


def test_cells_of_a_csv_row_are_typed_and_empty_ones_are_missing():
    cells = {"mean radius": " 5 ", "tenure": "NA", "model_config": "True", "contract": "yearly"}

    assert CONTRACT.validate_cells(cells) == {
        "mean radius": 5.0,
        "tenure": None,
        "model_config": True,
        "contract": "yearly",
    }


def test_new_categories_and_values_out_of_range_are_surprises_and_not_errors():
    record = CONTRACT.validate_record(changed(mean_radius=10.0) | {"contract": "weekly"})

    assert CONTRACT.surprises(record) == [
        "mean radius: 10 is outside the reference range 1 to 9",
        'contract: "weekly" was never seen; known are monthly, yearly',
    ]
    assert CONTRACT.surprises(CONTRACT.example) == []


@pytest.mark.parametrize(
    ("classes", "value"),
    [(("no", "yes"), "maybe"), ((0, 1), True), ((0, 1), "1"), ((False, True), 1), ((0, 1), 1.0), ((0, 1), None)],
)
def test_a_label_is_a_class_only_with_its_own_type(classes, value):
    with pytest.raises(InvalidRecord, match="is no class of churn: allowed are"):
        Classes(name="churn", classes=classes).index(value)


def test_an_error_never_repeats_a_long_input_in_full():
    error = refusal(changed(mean_radius="x" * 1_000_000))["mean radius"]

    assert len(error.value) <= 60


def test_line_breaks_in_an_input_cannot_forge_a_log_line():
    error = refusal(changed(mean_radius="5\nrun 7 promoted"))["mean radius"]

    assert "\n" not in error.value
