"""What was measured, and how several rounds of it become one figure."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from scripts.benchmarks.serving.load import Answers
from scripts.benchmarks.serving.machine import MOST_OTHERS

Figures = dict[str, float]


@dataclass(frozen=True)
class Measurement:
    """The figures of one contender in one round, and the share of the machine that others used meanwhile."""

    scenario: str
    contender: str
    case: str
    round: int
    figures: Figures
    others: float = 0.0

    @property
    def is_quiet(self) -> bool:
        """Whether it can be believed."""
        return self.others <= MOST_OTHERS


@dataclass(frozen=True)
class Failure:
    """What could not be measured, and why."""

    scenario: str
    contender: str
    reason: str


@dataclass(frozen=True)
class Value:
    """A median, and whether a quiet machine gave it."""

    number: float
    is_quiet: bool


def figures_of(answers: Answers, cpu_seconds: float) -> Figures:
    """What counts of a load; CPU seconds are those of all the server's processes."""
    cpu = max(cpu_seconds, 1e-6)
    return {
        "requests": answers.requests,
        "per_second": answers.per_second,
        "per_cpu_second": answers.requests / cpu,
        "cpu_microseconds": 1e6 * cpu / max(answers.requests, 1),
        "p50": answers.p50,
        "p99": answers.p99,
        "errors": answers.errors,
    }


class Summary:
    """Medians over the rounds. Rounds that others disturbed count only where there is no quiet one."""

    def __init__(self, measurements: Iterable[Measurement]) -> None:
        self._measurements = list(measurements)

    def value(self, scenario: str, contender: str, case: str, figure: str) -> Value | None:
        """The median of a figure."""
        found = [one for one in self._of(scenario, contender, case) if figure in one.figures]
        quiet = [one for one in found if one.is_quiet]
        return Value(median(one.figures[figure] for one in quiet or found), bool(quiet)) if found else None

    def ratio(self, figure: str, over: tuple[str, str, str], under: tuple[str, str, str]) -> Value | None:
        """The median over the rounds of one figure divided by another: of (scenario, contender, case) each."""
        below = {one.round: one for one in self._of(*under) if one.figures.get(figure)}
        pairs = [
            (one.figures[figure] / below[one.round].figures[figure], one.is_quiet and below[one.round].is_quiet)
            for one in self._of(*over)
            if one.round in below and figure in one.figures
        ]
        quiet = [ratio for ratio, is_quiet in pairs if is_quiet]
        return Value(median(quiet or [ratio for ratio, _ in pairs]), bool(quiet)) if pairs else None

    def total(self, scenario: str, contender: str, case: str, figure: str) -> float:
        """The sum of a figure over all rounds: errors are never averaged away."""
        return sum(one.figures.get(figure, 0.0) for one in self._of(scenario, contender, case))

    def cases(self, scenario: str) -> list[str]:
        """The cases of a scenario, in the order of measuring."""
        return list(dict.fromkeys(one.case for one in self._measurements if one.scenario == scenario))

    def contenders(self, scenario: str) -> list[str]:
        """Who took part in it."""
        return list(dict.fromkeys(one.contender for one in self._measurements if one.scenario == scenario))

    @property
    def disturbed(self) -> float:
        """The share of all measurements that others disturbed."""
        return sum(not one.is_quiet for one in self._measurements) / max(len(self._measurements), 1)

    @property
    def others(self) -> float:
        """The median share of the machine that others used."""
        return median([one.others for one in self._measurements] or [0.0])

    def _of(self, scenario: str, contender: str, case: str) -> list[Measurement]:
        wanted = (scenario, contender, case)
        return [one for one in self._measurements if (one.scenario, one.contender, one.case) == wanted]
