"""A version ready to answer: its decoder, its scorer, and the form of its answers."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from operator import itemgetter
from time import perf_counter
from types import GenericAlias
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec.structs import astuple
from uuid_utils import uuid7

from boucle.arrays import FloatArray
from boucle.artifacts import PickledScorer, ServedVersion
from boucle.contract import NO_NUL, Boolean, Category, Classes, Contract, Feature, Label, Number, Record
from boucle.encoding import encode_rows, usual_range
from boucle.rows import Chunk, Values
from boucle.store import PredictionRow, PredictionSource
from serving.bodies import label_name
from serving.journal import Journal

CHUNK_ROWS = 1_000


class Answer(msgspec.Struct):
    """The answer to one datum; see `serving.schemas.Prediction`."""

    prediction_id: str
    prediction: Label
    probabilities: Any  # by class, as `_probabilities` makes them
    model_version: str
    warnings: list[str]


Decode = Callable[[bytes | str], Any]  # to a class that is made of the contract
encode = msgspec.json.Encoder().encode

# What msgspec raises at a wrong body: also for bytes that are no UTF-8, and for brackets nested by the thousand.
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Predictor:
    """Answers with one version, whole; each answer is logged behind it."""

    def __init__(self, version: ServedVersion, journal: Journal) -> None:
        self.version = version
        self.name = version.version
        self.contract = version.contract
        self.is_compiled = not isinstance(version.scorer, PickledScorer)
        target = version.contract.target
        self.classes = [label_name(label) for label in target.classes] if isinstance(target, Classes) else []
        self.source = PredictionSource(self.name, "champion", version.contract.names, tuple(self.classes))
        self.reader = _reader(version.contract)
        self.read = self.reader.read
        self._row = version.scorer.row
        self.decode = target.decode
        self.decode_many = target.decode_many
        self.probabilities = _probabilities(self.classes)
        self._journal = journal

    def read_or_explain(self, body: bytes) -> tuple[Values, list[str]]:
        """As `Reader.read`.

        Raises:
            InvalidRecord: naming every mistake.
        """
        try:
            return self.read(body)
        except UNREADABLE:
            record = self.contract.validate_json(body)
            return tuple(record.values()), self.contract.surprises(record)

    def record(self, values: Values) -> Record:
        """The values with their columns' names."""
        return dict(zip(self.contract.names, values, strict=True))

    def scored(self, rows: Sequence[Values], encoded: FloatArray | None) -> FloatArray:
        """Outputs of each row, ``encoded`` already or not: a line for each."""
        return self.version.scorer.encoded(encode_rows(self.contract, rows) if encoded is None else encoded)

    def log_many(self, rows: Sequence[PredictionRow]) -> None:
        """Log the predictions of a batch."""
        self._journal.put_many(self.source, rows)

    def answer(self, values: Values, warnings: list[str]) -> tuple[Answer, float]:
        """The answer to one datum, and the seconds that embedding and model took."""
        started = perf_counter()
        outputs = self._row(values)
        seconds = perf_counter() - started
        prediction_id, prediction = str(uuid7()), self.decode(outputs)
        self._journal.put(self.source, prediction_id, seconds, values, prediction, outputs)
        return Answer(prediction_id, prediction, self.probabilities(*outputs), self.name, warnings), seconds


class Reader:
    """Reads one datum from JSON: an object, or, given the order of its ``columns``, an array.

    Whatever it accepts `Contract.validate_json` accepts too, with the same values, at ten times the cost.
    """

    def __init__(self, contract: Contract, columns: Sequence[str] | None = None) -> None:
        self._contract = contract
        self._usual_range = usual_range(contract)
        order = [*(columns or contract.names)]
        positions = [order.index(name) for name in contract.names]
        self._in_order = itemgetter(*positions) if positions != sorted(positions) else None
        self._usual: Decode
        self._allowed: Decode
        self._many: Decode
        try:
            usual, allowed = (self._datum(columns, is_usual) for is_usual in (True, False))
            kinds = usual, allowed, GenericAlias(list, allowed)
            self._usual, self._allowed, self._many = (msgspec.json.Decoder(kind).decode for kind in kinds)
        except ValueError:  # msgspec takes no quotation mark or control character in a name
            self._usual = self._allowed = self._many = self._decode_slowly
            self._in_order = None

    def read(self, text: bytes | str) -> tuple[Values, list[str]]:
        """The typed values in the contract's order, and the warnings that they deserve.

        Raises:
            UNREADABLE: at the first mistake; `Contract.validate_json` names them all.
        """
        try:
            values = astuple(self._usual(text))
            return (values if self._in_order is None else self._in_order(values)), []
        except msgspec.ValidationError:
            values = astuple(self._allowed(text))
            values = values if self._in_order is None else self._in_order(values)
            return values, self._contract.surprises(self._record(values))

    def read_many(self, array: bytes | str) -> list[Values]:
        """The typed values of each of a JSON array of data.

        Raises:
            UNREADABLE: at the first mistake in any of them.
        """
        rows: list[Values] = list(map(astuple, self._many(array)))
        return rows if self._in_order is None else list(map(self._in_order, rows))

    def chunk(self, rows: Sequence[Values]) -> Chunk:
        """Rows that were read, with the warnings that they deserve."""
        encoded = encode_rows(self._contract, rows)
        lowest, highest = self._usual_range
        unusual = np.flatnonzero(((encoded < lowest) | (encoded > highest)).any(axis=1)).tolist()
        return Chunk(rows, {row: self._contract.surprises(self._record(rows[row])) for row in unusual}, encoded)

    def _record(self, values: Values) -> Record:
        return dict(zip(self._contract.names, values, strict=True))

    def _decode_slowly(self, _: bytes | str) -> Any:
        raise msgspec.DecodeError("left to the contract")

    def _datum(self, columns: Sequence[str] | None, is_usual: bool) -> Any:  # a class that is made here
        """Holds what the contract allows; or what is usual, within all that the reference rows showed."""
        fields = {
            feature.name: (f"f{position}", _type_of(feature, is_usual), msgspec.field(name=feature.name))
            for position, feature in enumerate(self._contract.features)
        }
        order = [fields[name] for name in columns or self._contract.names]
        return msgspec.defstruct("Datum", order, forbid_unknown_fields=True, array_like=columns is not None, gc=False)


@lru_cache(maxsize=4)  # to make its classes is a sixth of a swap, and most versions of a project share them
def _reader(contract: Contract) -> Reader:
    return Reader(contract)


def _probabilities(classes: Sequence[str]) -> Callable[..., Any]:
    """Makes the outputs of one row what JSON shows as an object: each by its class; of a quantity none."""
    fields = [(f"p{position}", float, msgspec.field(name=name)) for position, name in enumerate(classes)]
    with suppress(ValueError):  # msgspec takes no quotation mark or control character in a name
        if fields:
            return msgspec.defstruct("Probabilities", fields, gc=False)  # in a sixth of a dictionary's time
    return lambda *outputs: dict(zip(classes, outputs))  # noqa: B905 (a quantity has an output and no class)


def _type_of(feature: Feature, is_usual: bool) -> Any:  # a type that msgspec understands
    kind: Any
    match feature:
        case Number():
            lowest, highest = (feature.minimum, feature.maximum) if is_usual else feature.limits
            kind = Annotated[float, msgspec.Meta(ge=lowest, le=highest)]
        case Boolean():
            kind = bool
        case Category():
            kind = Literal[feature.categories] if is_usual else Annotated[str, msgspec.Meta(pattern=NO_NUL)]
    return kind | None if feature.nullable else kind
