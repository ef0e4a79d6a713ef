"""What the model wants and what it answers, read once from the API's OpenAPI document."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from webapp.answers import Datum, Label, label_text

# How tables write that a label is missing.
NO_CLASS = ("", "?", "-", "na", "n/a", "nan", "null", "none", "unknown")


@dataclass(frozen=True)
class Field:
    """One input column."""

    name: str
    kind: Literal["number", "boolean", "category", "text"]
    description: str = ""
    nullable: bool = False
    integer: bool = False
    choices: tuple[str, ...] = ()


class Observed(BaseModel):
    """What the reference data holds of a numeric target."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    minimum: float
    maximum: float
    median: float
    integer: bool = False


@dataclass(frozen=True)
class Schema:
    """What the model wants and what it answers, in the project's own words; a numeric target has no labels."""

    project: str
    fields: tuple[Field, ...]
    example: Datum
    target: str
    labels: tuple[Label, ...] = ()
    observed: Observed | None = None

    @property
    def is_numeric(self) -> bool:
        """Whether the target is a number rather than a class."""
        return self.observed is not None

    @property
    def is_open(self) -> bool:
        """Whether there may be a class that nobody has seen yet."""
        return not self.is_numeric and not all(isinstance(label, bool) for label in self.labels)

    @property
    def identity(self) -> tuple[object, ...]:
        """Differs when another project answers, not when the same one has a new example row."""
        return self.project, self.target, self.labels, self.is_numeric, tuple(field.name for field in self.fields)

    def label(self, cell: object) -> Label | None:
        """The label, in its JSON type, that a cell of a file means; None when it means none."""
        if self.observed:
            return _number(cell)
        text = _text(cell)
        spellings = {label_text(label): label for label in self.labels}
        if all(isinstance(label, bool) for label in self.labels):
            return spellings.get({"0": "false", "1": "true"}.get(text, text.lower()))
        # A column of integers with one empty cell is written by most tools as 1.0, 2.0, …
        return spellings.get(text, spellings.get(text.removesuffix(".0")))

    def new_class(self, cell: object) -> Label | None:
        """The class that a text names, in the JSON type of the known ones; None when it is known or cannot be one."""
        text = _text(cell)
        if cell is None or text.lower() in NO_CLASS or self.is_numeric or self.label(text) is not None:
            return None
        if all(isinstance(label, str) for label in self.labels):
            return text
        is_whole = all(type(label) is int for label in self.labels) and text.lstrip("-").isdecimal()
        return int(text) if is_whole else None


def parse_schema(openapi: dict[str, Any]) -> Schema:  # Any: an OpenAPI document, arbitrary JSON by nature
    """The project's schema out of the API's OpenAPI document.

    Raises:
        KeyError, TypeError, IndexError, AttributeError, ValueError: when the document is not one of Boucle's.
    """
    schemas = openapi["components"]["schemas"]
    datum, target = schemas["Datum"], schemas["Target"]
    is_numeric = target.get("type") == "number"
    return Schema(
        project=openapi["info"]["title"],
        fields=tuple(_field(name, members) for name, members in datum["properties"].items()),
        example=datum["examples"][0],
        target=target["title"],
        labels=() if is_numeric else tuple(target["enum"]),
        observed=Observed.model_validate(target["x-observed"]) if is_numeric else None,
    )


def _field(name: str, members: dict[str, Any]) -> Field:  # Any: a JSON schema, as above
    variants = members.get("anyOf", [members])
    json_type = next(variant["type"] for variant in variants if variant["type"] != "null")
    choices = tuple(members.get("examples", ()))
    text_kind: Literal["category", "text"] = "category" if choices else "text"
    kinds: dict[str, Literal["number", "boolean"]] = {"number": "number", "integer": "number", "boolean": "boolean"}
    return Field(
        name=name,
        kind=kinds.get(json_type, text_kind),
        description=members.get("description", ""),
        nullable=any(variant["type"] == "null" for variant in variants),
        integer=json_type == "integer" or members.get("x-observed", {}).get("integer", False),
        choices=choices,
    )


def _text(cell: object) -> str:
    return label_text(cell).strip() if isinstance(cell, bool | int | str) else str(cell)


def _number(cell: object) -> float | None:
    if not isinstance(cell, int | float | str) or isinstance(cell, bool):
        return None
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
