"""What a diagnosis is made of, and what it says: values only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from boucle.contract import Contract
from boucle.monitoring.observation import ColumnDrift, Observation, Point
from boucle.monitoring.segments import Segment
from boucle.monitoring.windows import Reference, Row, Windows
from boucle.store import Run


@dataclass(frozen=True)
class Evidence:
    """What a diagnosis is made of; ``rows`` reach back beyond the observation's windows.

    ``runs`` are the last ones, newest first, without those that were merged into another. ``held_out`` is the project's
    metric of each version on rows that it never saw, as far as it is known.
    """

    project: str
    metric: str
    seed: int
    champion_since: str
    reference: Reference
    rows: Windows
    labelled: Sequence[Row]
    observation: Observation
    history: Sequence[Point]
    runs: Sequence[Run]
    held_out: Mapping[str, float]

    @property
    def contract(self) -> Contract:
        return self.reference.contract


@dataclass(frozen=True)
class Onset:
    """The first prediction from which on a column was far; ``is_older`` when all that were looked at are.

    ``row`` is the number of its feedback, or of the next one behind it.
    """

    position: int
    at: str
    row: int | None
    is_older: bool


@dataclass(frozen=True)
class MovedColumn:
    """A column that drifted, since which row, and since when the observer has been seeing it."""

    drift: ColumnDrift
    onset: Onset | None
    observed_since: str | None


@dataclass(frozen=True)
class VersionQuality:
    """How one version answered: the project's metric on its labelled rows, and on those held out when it was made."""

    version: str
    rows: int
    first_row: int
    last_row: int
    score: float | None
    held_out: float | None


@dataclass(frozen=True)
class Finding:
    """One sentence; ``is_bad`` when it is a reason to act."""

    text: str
    is_bad: bool = True


@dataclass(frozen=True)
class Diagnosis:
    """The page's contents, the most important first."""

    evidence: Evidence
    findings: Sequence[Finding]
    advice: Sequence[str]
    moved: Sequence[MovedColumn]
    segments: Sequence[Segment]
    segments_seen: int
    versions: Sequence[VersionQuality]

    @property
    def is_calm(self) -> bool:
        return not any(one.is_bad for one in self.findings)
