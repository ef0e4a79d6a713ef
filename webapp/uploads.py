"""A user's file to rows for the API, and rows back to a file that a spreadsheet may open safely."""

import csv
import io
import json
from dataclasses import dataclass, field
from typing import cast

import pandas as pd
from pydantic import JsonValue

from webapp.answers import Datum, Label
from webapp.schema import Schema
from webapp.texts import count

ALLOWED = "Allowed, in UTF-8: CSV (with a header line) or JSON (an array of objects, one object, or one per line)."
SEPARATORS = ",;\t|"
SIGNATURES = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a zip or Excel file",
    b"\xd0\xcf\x11\xe0": "an old Excel file",
    b"\x1f\x8b": "a compressed file",
    b"PAR1": "a Parquet file",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}


class UnreadableUpload(Exception):
    """The file cannot be used; the message says why and what is allowed."""


@dataclass(frozen=True)
class Upload:
    """The rows of one file: what the model is asked, and the labels that the file already knows."""

    name: str
    rows: list[Datum]
    """Every row of the file, in its order; empty where the row has a fault."""
    faults: dict[int, str]
    """Rows that cannot even be sent, counted from 1, and why."""
    is_csv: bool
    ignored: tuple[str, ...]
    labels: list[Label | None] | None
    """One per row, None where the cell is no label; None altogether when the file has no target column."""
    new_classes: dict[int, Label] = field(default_factory=dict)
    """Rows, counted from 1, whose target cell may be a class that nobody has seen yet."""

    @property
    def sent(self) -> list[int]:
        """The numbers of the rows that ``body`` holds."""
        return [row for row in range(1, len(self.rows) + 1) if row not in self.faults]

    def body(self) -> tuple[bytes, str]:
        """The rows without fault as a request body, and its content type; the API alone decides what a cell means."""
        rows = [self.rows[row - 1] for row in self.sent]
        if not self.is_csv:
            return "\n".join(map(json.dumps, rows)).encode(), "application/x-ndjson"
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().encode(), "text/csv"


def read_upload(name: str, data: bytes, schema: Schema) -> Upload:
    """The rows that the model can be asked.

    Raises:
        UnreadableUpload: when the file as a whole is wrong; a wrong row is left to the API to name.
    """
    text = _text(name, data)
    is_csv = text.lstrip()[:1] not in ("{", "[")
    rows, faults = _csv_rows(name, text) if is_csv else _json_rows(name, text)
    if len(rows) == len(faults):
        why = f"no row that can be used: {faults[1]}" if faults else "no row"
        raise UnreadableUpload(f"{name} holds {why}. {ALLOWED}")
    known = [field.name for field in schema.fields]
    given = list(dict.fromkeys(column for row in rows for column in row))
    if missing := [column for column in known if column not in given]:
        raise UnreadableUpload(
            f"{name} lacks {_listed(missing)}. Needed are {_listed(known, at_most=40)}; "
            f"{schema.target} is optional, other columns are ignored."
        )
    new = {number: schema.new_class(row.get(schema.target)) for number, row in enumerate(rows, 1)}
    return Upload(
        name=name,
        rows=[{column: cell for column, cell in row.items() if column in known} for row in rows],
        faults=faults,
        is_csv=is_csv,
        ignored=tuple(column for column in given if column not in known and column != schema.target),
        labels=[schema.label(row.get(schema.target)) for row in rows] if schema.target in given else None,
        new_classes={number: label for number, label in new.items() if label is not None},
    )


def to_csv(table: pd.DataFrame) -> bytes:
    """The table as CSV in which no cell and no header runs as a spreadsheet formula."""
    safe = table.map(_without_formula)
    safe.columns = pd.Index([_without_formula(column) for column in table.columns])
    return safe.to_csv(index=False).encode()


def _text(name: str, data: bytes) -> str:
    if not data.strip():
        raise UnreadableUpload(f"{name} is empty. {ALLOWED}")
    if kind := next((kind for signature, kind in SIGNATURES.items() if data.startswith(signature)), None):
        raise UnreadableUpload(f"{name} is {kind}. {ALLOWED}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UnreadableUpload(f"{name} is not UTF-8 (line {line}); save it again as UTF-8. {ALLOWED}") from error


def _csv_rows(name: str, text: str) -> tuple[list[Datum], dict[int, str]]:
    first_line, _, _ = text.lstrip().partition("\n")
    separator = max(SEPARATORS, key=first_line.count)
    try:
        header, *lines = [line for line in csv.reader(io.StringIO(text, newline=""), delimiter=separator) if line]
    except csv.Error as error:
        raise UnreadableUpload(f"{name} is not readable as CSV: {error}. {ALLOWED}") from error
    if twice := [column for column in dict.fromkeys(header) if header.count(column) > 1]:
        raise UnreadableUpload(f"{name} has {_listed(twice)} twice; every column needs its own name.")
    # Cells that do not fit the header are not guessed at: they may all have moved by one column.
    faults = {
        number: f"the row has {count(len(line), 'cell')}, the header {len(header)}; quote a cell that holds a separator"
        for number, line in enumerate(lines, 1)
        if len(line) != len(header)
    }
    rows = [{} if row in faults else dict(zip(header, line, strict=True)) for row, line in enumerate(lines, 1)]
    return cast(list[Datum], rows), faults


def _json_rows(name: str, text: str) -> tuple[list[Datum], dict[int, str]]:
    try:
        rows = _parsed_json(text)
        # Half of a surrogate pair is legal JSON and no legal text; find it here, not while drawing the table.
        json.dumps(rows, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        reason = f"{error.msg} (line {error.lineno}, column {error.colno})"
    except RecursionError:
        reason = "it is nested too deeply"
    except UnicodeEncodeError:
        reason = "it holds half a character (an unpaired surrogate)"
    except ValueError as error:
        reason = str(error)
    else:
        faults = {row: "the row is not an object" for row, value in enumerate(rows, 1) if not isinstance(value, dict)}
        return [value if isinstance(value, dict) else {} for value in rows], faults
    raise UnreadableUpload(f"{name} is not valid JSON: {reason}. {ALLOWED}")


def _parsed_json(text: str) -> list[JsonValue]:
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        if not error.msg.startswith("Extra data"):
            raise
        return [json.loads(line, parse_constant=_refuse_constant) for line in text.splitlines() if line.strip()]
    return value if isinstance(value, list) else [value]


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON, write null for a missing value")


def _without_formula(cell: object) -> object:
    if not isinstance(cell, str) or not cell.lstrip().startswith(("=", "+", "-", "@")):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


def _listed(names: list[str], at_most: int = 8) -> str:
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return f"the column{'s' if len(names) > 1 else ''} {', '.join(names[:at_most])}{more}"
