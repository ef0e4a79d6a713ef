"""What clients say was true, read by the contract of the version in service."""

import hashlib
from collections.abc import Callable, Mapping

import msgspec
from uuid_utils import uuid7

from boucle.artifacts import ServedVersion
from boucle.contract import Cell, Label, Record, Target, show
from boucle.store import LoggedPrediction


class Truth(msgspec.Struct, frozen=True):
    """A feedback as one version's contract reads it, before it is embedded; see `boucle.store.Feedback`."""

    prediction_id: str
    input: Record
    target: Label
    prediction: Label
    model_version: str | None
    set_aside: str | None


class Given(msgspec.Struct, frozen=True):
    """A feedback as ``version`` reads it, and how another one would, should it take over meanwhile."""

    truth: Truth
    version: ServedVersion
    read: Callable[[ServedVersion], Truth]

    def under(self, version: ServedVersion) -> Truth:
        """As that version reads it.

        Raises:
            InvalidRecord: when its contract does not fit.
        """
        return self.truth if version is self.version else self.read(version)


def of_prediction(logged: LoggedPrediction, target: Label, version: ServedVersion) -> Given:
    """The true value of a prediction that was made here.

    Raises:
        InvalidRecord: when the version's contract does not fit.
    """

    def read(version: ServedVersion) -> Truth:
        if logged.model_version != version.version:  # its own contract has let it pass already
            version.contract.validate_record(logged.input)
        true, set_aside = _true(version.contract.target, target)
        return Truth(logged.prediction_id, logged.input, true, logged.prediction, logged.model_version, set_aside)

    return Given(read(version), version, read)


def of_data(
    data: Mapping[str, Cell],
    prediction: Label,
    target: Label,
    identifier: str,
    version: ServedVersion,
    record: Record | None = None,
) -> Given:
    """The true value of any datum, with what was predicted for it; ``record`` if the version has read it already.

    Raises:
        InvalidRecord: naming every wrong field.
    """

    def truth(version: ServedVersion, record: Record) -> Truth:
        predicted = version.contract.target.normal(prediction, "prediction")
        true, set_aside = _true(version.contract.target, target)
        return Truth(identifier, record, true, predicted, None, set_aside)

    def read(version: ServedVersion) -> Truth:
        return truth(version, version.contract.validate_record(data))

    return Given(read(version) if record is None else truth(version, record), version, read)


def identifier(idempotency_key: str | None) -> str:
    """What a feedback by data is stored under."""
    # Without a key two equal rows are two observations: real tables hold many, and none may be lost.
    if idempotency_key is None:
        return str(uuid7())
    return f"key:{hashlib.sha256(idempotency_key.encode()).hexdigest()[:40]}"


def _true(target: Target, value: Label) -> tuple[Label, str | None]:
    """What was true, and why it is set aside if it is."""
    if target.may_become_class(value):
        known = f"{show(value)} is no class of {target.name} yet"
        return value, f"{known}: kept aside, and learnt once there are enough such rows"
    return target.normal(value), None
