"""Bodies as clients write them; every mistake named, none of them an accident."""

from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import from_json

from boucle.contract import Label, show
from boucle.errors import FieldError, InvalidRecord
from serving.schemas import Body

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
        raise wrong_body(f"is not JSON: {error}") from error


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


def wrong_body(message: str) -> InvalidRecord:
    """The body as a whole cannot be read: it ``message``."""
    return InvalidRecord([FieldError("body", "", message)])
