"""Every exception that Boucle raises on purpose. A message names what is wrong, its value, and the remedy."""

from collections.abc import Sequence
from dataclasses import dataclass


class BoucleError(Exception):
    """Base of all of them: its text can be shown to a user as it is."""


class InvalidProject(BoucleError):
    """A key of project.toml, or its override in the environment, is wrong."""


class InvalidSource(BoucleError):
    """The data cannot be read, or does not fit what project.toml says of it."""


class SourceAway(BoucleError):
    """A source does not answer, or not with what can be read; what came before it is kept."""


class SchemaChanged(BoucleError):
    """A source's columns are no longer those of its contract; nothing of the batch was loaded."""


class WarehouseBusy(BoucleError):
    """Another process holds the warehouse."""


class NotLoaded(BoucleError):
    """Some sources or tables could not be loaded; the others were."""


class NotPrepared(BoucleError):
    """The reference data is missing, or is not what `prepare` wrote."""


class NotEnoughData(BoucleError):
    """Too few rows, or too few classes among them, for what was asked."""


class ModelNotFound(BoucleError):
    """No such version, or no champion yet."""


class NobodyInCharge(BoucleError):
    """There was no champion yet at the time that was asked about."""


class CorruptArtifact(BoucleError):
    """A file differs from the hash that its manifest promises; it was not unpickled."""


class ChampionMoved(BoucleError):
    """The champion is no longer the version that the caller wanted to replace."""


class PredictionNotFound(BoucleError):
    """No logged prediction has this identifier."""


class FeedbackConflict(BoucleError):
    """The same feedback was already given with another content."""


class EmbeddingChanged(BoucleError):
    """The feedback's vector was computed by an embedding that prod_data.csv no longer uses."""


class RunNotFound(BoucleError):
    """No training run has this number."""


class EngineAway(BoucleError):
    """The cluster that should do the fits does not answer."""


class TrainingFailed(BoucleError):
    """A training run that a command waited for ended without a verdict."""


class ContractBroken(BoucleError):
    """The data have another form than what clients were promised."""


class NotReported(BoucleError):
    """The reports that were asked for did not come."""


class NotScored(BoucleError):
    """A table cannot be read, scored or written as it was asked for."""


class NotNotified(BoucleError):
    """A notification reached nobody, or not everybody that it should."""


class UnknownRevision(BoucleError):
    """The database was migrated by a newer version of the code."""


class LeaseLost(BoucleError):
    """Another trainer took this run over; its result must not be published."""


@dataclass(frozen=True)
class FieldError:
    """One wrong field of a record: its name, the value as text, and what is allowed."""

    field: str
    value: str
    message: str


class InvalidRecord(BoucleError):
    """A record breaks the data contract; ``errors`` says where."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = tuple(errors)
        first = self.errors[0]
        more = f" (and {len(self.errors) - 1} more)" if len(self.errors) > 1 else ""
        super().__init__(f"{first.field}: {first.message}{more}")
