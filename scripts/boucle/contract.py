"""The data contract: columns, types, ranges, target; and the one check that every record passes on its way in."""

import difflib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
)
from pydantic import create_model as create_pydantic_model

from boucle.arrays import FloatArray
from boucle.errors import FieldError, InvalidRecord

Label = StrictBool | StrictInt | StrictFloat | StrictStr
Cell = float | bool | str | None
Record = dict[str, Cell]

# What every store can keep: PostgreSQL has no place for the character NUL in a text.
NO_NUL = r"^[^\x00]*$"
Text = Annotated[str, Field(pattern=NO_NUL)]

LONGEST_SHOWN = 60
LONGEST_CLASS = 100
FARTHEST_RANGES = 1e6


class Number(BaseModel, frozen=True):
    """A numeric column, with what the reference rows showed of it."""

    kind: Literal["number"] = "number"
    name: str
    nullable: bool
    integer: bool
    minimum: float
    maximum: float
    median: float

    @property
    def allowed(self) -> str:
        return f"a number; seen {self.minimum:g} to {self.maximum:g}"

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest value accepted: drift is welcome, what would overflow the arithmetic is a mistake."""
        return _limits(self.minimum, self.maximum)


class Boolean(BaseModel, frozen=True):
    """A column of true and false."""

    kind: Literal["boolean"] = "boolean"
    name: str
    nullable: bool
    allowed: str = Field(default="true or false", exclude=True)


class Category(BaseModel, frozen=True):
    """A column of names; ``categories`` are those of the reference rows, sorted."""

    kind: Literal["category"] = "category"
    name: str
    nullable: bool
    categories: tuple[str, ...]

    @property
    def allowed(self) -> str:
        return f"a text; seen {_shorten(', '.join(self.categories))}"


Feature = Annotated[Number | Boolean | Category, Field(discriminator="kind")]


class Classes(BaseModel, frozen=True):
    """A target of classes, in the order of every probability array."""

    name: str
    classes: tuple[Label, ...]

    @property
    def n_classes(self) -> int:
        return len(self.classes)

    def index(self, value: object, field: str = "target") -> int:
        """Position of ``value`` among the classes.

        Raises:
            InvalidRecord: when it is no class; ``True`` is not taken for ``1``, nor ``"1"``.
        """
        for position, label in enumerate(self.classes):
            if type(label) is type(value) and label == value:
                return position
        allowed = ", ".join(show(label) for label in self.classes)
        raise InvalidRecord([FieldError(field, show(value), f"is no class of {self.name}: allowed are {allowed}")])

    def normal(self, value: object, field: str = "target") -> Label:
        """The class that ``value`` is; raises as `index` does."""
        return self.classes[self.index(value, field)]

    def decode(self, output: Sequence[float]) -> Label:
        """The most probable class of one row of a model's outputs."""
        return self.classes[output.index(max(output))]

    def decode_many(self, outputs: FloatArray) -> list[Label]:
        """As `decode`, of each row."""
        return [self.classes[position] for position in outputs.argmax(axis=1).tolist()]

    def may_become_class(self, value: object) -> bool:
        """Whether ``value`` is no class but of the classes' own type: true labels can be of a class not seen yet."""
        is_known = any(type(label) is type(value) and label == value for label in self.classes)
        if is_known or isinstance(value, bool) or type(value) not in {type(label) for label in self.classes}:
            return False
        return isinstance(value, int) or (0 < len(str(value)) <= LONGEST_CLASS and "\0" not in str(value))

    def extends(self, other: "Classes") -> bool:
        """Whether these are the other's classes, in its order, with none or more behind them."""
        return self.name == other.name and self.classes[: len(other.classes)] == other.classes

    def extended(self, labels: Sequence[Label]) -> "Classes":
        """The same with more classes at the end: positions of the old ones stay."""
        return Classes(name=self.name, classes=(*self.classes, *labels))

    def parse(self, text: str, field: str = "target") -> Label:
        """The class that ``text`` writes, as a CSV cell would."""
        for label in self.classes:
            if str(label).lower() == text.strip().lower():
                return label
        return self.normal(text, field)


class Quantity(BaseModel, frozen=True):
    """A numeric target, with what the reference rows showed of it."""

    name: str
    integer: bool
    minimum: float
    maximum: float
    median: float

    @property
    def n_classes(self) -> None:
        return None

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest value accepted: what would overflow the arithmetic is a mistake."""
        return _limits(self.minimum, self.maximum)

    def index(self, value: object, field: str = "target") -> float:
        """The quantity itself: what a model learns from.

        Raises:
            InvalidRecord: when it is no number within `limits`.
        """
        lowest, highest = self.limits
        if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value <= highest:
            seen = f"{self.name} is a number; seen {self.minimum:g} to {self.maximum:g}"
            raise InvalidRecord([FieldError(field, show(value), f"is not possible: {seen}")])
        return float(value)

    def normal(self, value: object, field: str = "target") -> Label:
        """The quantity as a float; raises as `index` does."""
        return self.index(value, field)

    def decode(self, output: Sequence[float]) -> Label:
        """The quantity that one row of a model's outputs holds."""
        return float(output[0])

    def decode_many(self, outputs: FloatArray) -> list[Label]:
        """As `decode`, of each row."""
        quantities: list[Label] = outputs[:, 0].tolist()
        return quantities

    def may_become_class(self, _: object) -> bool:
        return False

    def parse(self, text: str, field: str = "target") -> Label:
        """The quantity that ``text`` writes, as a CSV cell would."""
        try:
            return self.normal(float(text), field)
        except ValueError:
            return self.normal(text, field)


Target = Classes | Quantity


class Contract(BaseModel):
    """Features in column order, the target, and one real row as example."""

    model_config = ConfigDict(frozen=True)

    features: tuple[Feature, ...]
    target: Target
    example: dict[str, Any]
    missing_values: tuple[str, ...] = ()

    def __hash__(self) -> int:  # by its own: pydantic's would include the example, which has none
        return hash((self.features, self.target))

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    @cached_property
    def _model(self) -> type[BaseModel]:
        return _datum(self.features)

    def validate_record(self, record: object) -> Record:
        """The record in column order, its values typed.

        ``record`` is what a JSON parser returned: every column must be there, and no other.

        Raises:
            InvalidRecord: naming every wrong field, its value and what is allowed.
        """
        if not isinstance(record, Mapping):
            raise InvalidRecord([FieldError("body", show(record), "must be an object with one value per column")])
        try:
            return self._model.model_validate(record, strict=True).model_dump(by_alias=True)
        except ValidationError as error:
            raise InvalidRecord(self._explain(error)) from error

    def validate_json(self, body: bytes) -> Record:
        """As `validate_record`, from the JSON text of one record."""
        try:
            return self._model.model_validate_json(body, strict=True).model_dump(by_alias=True)
        except ValidationError as error:
            raise InvalidRecord(self._explain(error)) from error

    def validate_cells(self, cells: Mapping[str, str | None]) -> Record:
        """As `validate_record`, from the text cells of a CSV row; an empty cell is a missing value."""
        values = {name: self.parse_cell(name, cell) for name, cell in cells.items()}
        return self.validate_record(values)

    def parse_cell(self, name: str, cell: str | None) -> Cell:
        """What a text cell of the column says: a missing value, a number, a boolean, or else the text as it is."""
        text = (cell or "").strip()
        if not text or text in self.missing_values:
            return None
        feature = self._by_name.get(name)
        if isinstance(feature, Number):
            try:
                return float(text)
            except ValueError:
                return text
        if isinstance(feature, Boolean):
            return {"true": True, "false": False, "1": True, "0": False}.get(text.lower(), text)
        return text

    @cached_property
    def _by_name(self) -> dict[str, Number | Boolean | Category]:
        return {feature.name: feature for feature in self.features}

    def surprises(self, record: Record) -> list[str]:
        """What is allowed but was never seen in the reference rows: values out of range, new categories."""
        found = []
        for feature in self.features:
            value = record[feature.name]
            if value is None:
                continue
            if isinstance(feature, Number) and not feature.minimum <= float(value) <= feature.maximum:
                found.append(
                    f"{feature.name}: {value:g} is outside the reference range "
                    f"{feature.minimum:g} to {feature.maximum:g}"
                )
            elif isinstance(feature, Category) and value not in feature.categories:
                known = _shorten(", ".join(feature.categories))
                found.append(f"{feature.name}: {show(value)} was never seen; known are {known}")
        return found

    def _explain(self, error: ValidationError) -> list[FieldError]:
        # Without the input: a repr of it could be as long as the body.
        details = error.errors(include_url=False)
        missing = [str(detail["loc"][0]) for detail in details if detail["type"] == "missing"]
        found = []
        for detail in details:
            name = str(detail["loc"][0]) if detail["loc"] else "body"
            value = show(detail.get("input"))
            feature = self._by_name.get(name)
            if detail["type"] == "json_invalid":
                found.append(FieldError("body", "", f"is not JSON: {detail['ctx']['error']}"))
            elif detail["type"] == "missing" and feature:
                found.append(FieldError(name, "", f"is missing: give {_allowed(feature)}"))
            elif detail["type"] in ("greater_than_equal", "less_than_equal") and feature:
                message = f"is over a million ranges away: must be {_allowed(feature)}"
                found.append(FieldError(name, value, message))
            elif detail["type"] == "string_pattern_mismatch":
                found.append(FieldError(name, value, "must be a text without the character NUL"))
            elif feature:
                found.append(FieldError(name, value, f"must be {_allowed(feature)}"))
            elif detail["type"] == "extra_forbidden":
                found.append(FieldError(_shorten(name), value, _no_such_column(name, missing or self.names)))
            else:
                found.append(FieldError("body", value, "must be an object with one value per column"))
        return list(dict.fromkeys(found))


def broken(promised: Contract, found: Contract) -> list[str]:
    """What clients may send by the ``promised`` contract and could not by the ``found`` one, a sentence each.

    More columns, another range and new categories break nothing: they are what retraining is for.
    """
    features = {feature.name: feature for feature in found.features}
    said = [_change(feature, features.get(feature.name)) for feature in promised.features]
    before, now = _named(promised.target), _named(found.target)
    if before != now:
        said.append(f"the target was {before}, and is {now}")
    return [sentence for sentence in said if sentence]


def _change(promised: Number | Boolean | Category, found: Number | Boolean | Category | None) -> str:
    if found is None:
        return f"{promised.name} is gone"
    if promised.kind != found.kind:
        return f"{promised.name} was a {promised.kind}, and is a {found.kind}"
    return f"{promised.name} may no longer be missing" if promised.nullable and not found.nullable else ""


def _named(target: Target) -> str:
    return f"{target.name}, {'classes' if isinstance(target, Classes) else 'a quantity'}"


def _limits(minimum: float, maximum: float) -> tuple[float, float]:
    span = (maximum - minimum) or max(abs(maximum), 1.0)
    return minimum - FARTHEST_RANGES * span, maximum + FARTHEST_RANGES * span


def show(value: object) -> str:
    """``value`` as an error message shows it: JSON's spelling, cut when long, printable."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "null"
    try:
        text = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
    except ValueError:  # an integer with more than 4300 digits refuses to be printed
        text = "a number with thousands of digits"
    return _shorten(text)


def _shorten(text: str) -> str:
    printable = text.encode("ascii" if not text.isprintable() else "utf-8", "backslashreplace").decode()
    return printable if len(printable) <= LONGEST_SHOWN else printable[: LONGEST_SHOWN - 1] + "…"


def _allowed(feature: Number | Boolean | Category) -> str:
    return f"{feature.allowed}, or null" if feature.nullable else feature.allowed


def _no_such_column(name: str, candidates: Sequence[str]) -> str:
    close = difflib.get_close_matches(name[:LONGEST_SHOWN], candidates, n=1)
    return f"is no column of this project; did you mean {close[0]}?" if close else "is no column of this project"


@lru_cache(maxsize=4)  # two thirds of what loading a version takes, and most versions of a project share it
def _datum(features: tuple[Feature, ...]) -> type[BaseModel]:
    # Positional field names: a column may be called anything, also `model_config` or `mean radius`.
    fields: dict[str, Any] = {
        f"f{position}": (_type_of(feature), Field(alias=feature.name)) for position, feature in enumerate(features)
    }
    return create_pydantic_model("Datum", __config__=ConfigDict(extra="forbid", allow_inf_nan=False), **fields)


def _type_of(feature: Number | Boolean | Category) -> Any:  # a type that pydantic understands
    kind: Any
    match feature:
        case Number():
            lowest, highest = feature.limits
            kind = Annotated[float, Field(ge=lowest, le=highest), BeforeValidator(_fits_a_float)]
        case Boolean():
            kind = bool
        case Category():
            kind = Text
    return kind | None if feature.nullable else kind


def _fits_a_float(value: object) -> object:
    """JSON knows integers of any length; a double does not."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**1023:
        raise ValueError("too large")
    return value
