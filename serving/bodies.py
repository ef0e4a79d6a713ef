"""Bodies as clients write them: JSON, NDJSON, CSV; every mistake named, none of them an accident."""

import csv
import io
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import from_json

from boucle.contract import Contract, Label, Record, show
from boucle.errors import FieldError, InvalidRecord
from serving.problems import UnsupportedBody
from serving.schemas import Body

MEDIA_TYPES = ("application/json", "application/x-ndjson", "text/csv")
SEPARATORS = ",;\t|"

Rows = list[Record | InvalidRecord]
Parsed = TypeVar("Parsed", bound=Body)


def label_name(label: Label) -> str:
    """A class as the key of a JSON object."""
    return str(label).lower() if isinstance(label, bool) else str(label)


def parse_json(body: bytes) -> Any:  # whatever JSON holds
    """The JSON value of the body.

    Raises:
        InvalidRecord: when it is none.
    """
    try:
        return from_json(body)
    except ValueError as error:
        raise _wrong_body(f"is not JSON: {error}") from error


def parse(model: type[Parsed], value: object) -> Parsed:
    """``value`` as the model that a route reads.

    Raises:
        InvalidRecord: naming every wrong field.
    """
    try:
        return model.model_validate(value, strict=True)
    except ValidationError as error:
        found = [
            FieldError(
                str(detail["loc"][0]) if detail["loc"] else "body",
                "" if detail["type"] == "missing" else show(detail["input"]),
                detail["msg"],
            )
            for detail in error.errors(include_url=False)
        ]
        raise InvalidRecord(list({problem.field: problem for problem in found}.values())) from error


def parse_rows(body: bytes, media_type: str, contract: Contract) -> Rows:
    """Every row of the body, validated; a row that breaks the contract is its error instead.

    Raises:
        UnsupportedBody: when the media type is none of `MEDIA_TYPES`.
        InvalidRecord: when the body as a whole cannot be read, or holds no row.
    """
    rows: Rows = []
    if media_type == "text/csv":
        rows = _csv_rows(_decode(body), contract)
    elif media_type in ("application/x-ndjson", "application/jsonl"):
        rows = [_json_row(line.encode(), contract) for line in _decode(body).split("\n") if line.strip()]
    elif media_type == "application/json":
        values = parse_json(body)
        if not isinstance(values, list):
            raise _wrong_body("must be an array with one object per row")
        rows = [_row(value, contract) for value in values]
    else:
        raise UnsupportedBody(f"Content-Type {show(media_type)} is not read here; send {', '.join(MEDIA_TYPES)}")
    if not rows:
        raise _wrong_body("holds no row")
    return rows


def _csv_rows(text: str, contract: Contract) -> Rows:
    header, _, _ = text.partition("\n")
    separator = max(SEPARATORS, key=header.count)
    try:
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), delimiter=separator) if line]
    except csv.Error as error:
        raise _wrong_body(f"is not CSV: {error}") from error
    if not lines:
        raise _wrong_body("is empty: give a header line with the columns, then one line per row")
    columns = [name.strip() for name in lines[0]]
    _check_header(columns, contract)
    return [_csv_row(columns, cells, contract) for cells in lines[1:]]


def _check_header(columns: list[str], contract: Contract) -> None:
    problems = [
        FieldError(name, "", "is missing from the header line") for name in contract.names if name not in columns
    ]
    problems += [
        FieldError(show(name), "", "is no column of this project, or stands twice in the header line")
        for position, name in enumerate(columns)
        if name not in contract.names or name in columns[:position]
    ]
    if problems:
        raise InvalidRecord(problems)


def _csv_row(columns: list[str], cells: list[str], contract: Contract) -> Record | InvalidRecord:
    if len(cells) != len(columns):
        return InvalidRecord([FieldError("row", "", f"has {len(cells)} cells, the header line has {len(columns)}")])
    try:
        return contract.validate_cells(dict(zip(columns, cells, strict=True)))
    except InvalidRecord as error:
        return error


def _json_row(line: bytes, contract: Contract) -> Record | InvalidRecord:
    try:
        return contract.validate_json(line)
    except InvalidRecord as error:
        return error


def _row(value: object, contract: Contract) -> Record | InvalidRecord:
    try:
        return contract.validate_record(value)
    except InvalidRecord as error:
        return error


def _decode(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _wrong_body(
            f"is not UTF-8: byte 0x{body[error.start]:02X} at position {error.start}; save the file as UTF-8"
        ) from error


def _wrong_body(message: str) -> InvalidRecord:
    return InvalidRecord([FieldError("body", "", message)])
