"""What Boucle promises of its speed, each as a ratio within one run, and whether a run kept it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scripts.benchmarks.serving.measurements import Summary, Value
from scripts.benchmarks.serving.slow_disk import SYNC_MILLISECONDS

Place = tuple[str, str, str]  # scenario, contender, case

CONNECTIONS = ("8", "64")
NEARLY_FLAT = 1.25
SLOW, SLOW_POSTGRESQL = (f"{store}, {SYNC_MILLISECONDS} ms a sync" for store in ("SQLite", "PostgreSQL"))
ON_ONE_CORE = "1, on one core"
TIMES = "×"  # noqa: RUF001  # the sign, not the letter
PEER_GOALS = {
    "mlflow": ("mlflow models serve", 150.0),
    "bentoml": ("BentoML", 45.0),
    "litserve": ("LitServe", 30.0),
    "mlserver": ("MLServer", 40.0),
    "ray": ("Ray Serve", 300.0),
}


@dataclass(frozen=True)
class Goal:
    """One promise: a figure, and its bound. Where errors are counted, one of them breaks it."""

    what: str
    bound: float
    measured: Callable[[Summary], Value | None]
    at_most: bool = False
    unit: str = TIMES
    errors: Callable[[Summary], float] = lambda _: 0.0

    @property
    def wanted(self) -> str:
        """The bound as people read it."""
        return f"{'≤' if self.at_most else '≥'} {shown(self.bound, self.unit)}"

    def is_met(self, summary: Summary) -> bool | None:
        """Whether the run kept it; None when it did not measure it."""
        value = self.measured(summary)
        if value is None:
            return None
        within = value.number <= self.bound if self.at_most else value.number >= self.bound
        return within and not self.errors(summary)


def shown(number: float, unit: str) -> str:
    """A figure with its unit: a percentage, a ratio, or a count."""
    if unit == "%":
        return f"{number:.0%}"
    digits = 0 if number >= 100 else 1 if number >= 10 else 2
    return f"{number:,.{digits}f}".rstrip("0").rstrip(".") + f" {unit}" if digits else f"{number:,.0f} {unit}"


def all_goals(summary: Summary) -> list[Goal]:
    """The promises, in the order in which they are shown; the sizes are those that the run measured."""
    return [*_single(), *_peers(), *_many(summary), *_disturbances(), *_footprint(), *_feedback(), *_history(summary)]


def _single() -> list[Goal]:
    goals = [
        _one("linear", "linear champion", "naive", 15, TIMES),
        _one("linear", "linear champion", "noop", 0.7, "%"),
        Goal("linear champion: p99 against the bare no-op's", 3, _against("noop", "linear", "p99"), at_most=True),
        _one("forest", "random forest of 100 trees", "naive", 75, TIMES),
    ]
    others = {"forest": "random forest of 100 trees", "boosting": "histogram gradient boosting", "mlp": "perceptron"}
    return goals + [_one(model, title, "noop", 0.45, "%") for model, title in others.items()]


def _one(model: str, title: str, other: str, bound: float, unit: str) -> Goal:
    errors = _errors([("single", "boucle", f"{model}, {many}") for many in CONNECTIONS])
    what = f"{title}, 8 and 64 connections: {'against naive' if other == 'naive' else 'share of the bare no-op'}"
    return Goal(what, bound, _against(other, model), unit=unit, errors=errors)


def _against(other: str, model: str, figure: str = "per_cpu_second") -> Callable[[Summary], Value | None]:
    """Boucle's figure divided by the other's: the worse one of few and many connections."""

    def measured(summary: Summary) -> Value | None:
        cases = [f"{model}, {many}" for many in CONNECTIONS]
        found = [summary.ratio(figure, ("single", "boucle", case), ("single", other, case)) for case in cases]
        ratios = [ratio for ratio in found if ratio]
        worst = max if figure == "p99" else min
        return worst(ratios, key=lambda ratio: ratio.number, default=None)

    return measured


def _peers() -> list[Goal]:
    return [
        Goal(
            f"linear champion, 8 connections: against {title}",
            bound,
            _pair("per_cpu_second", *_both("peers", peer, "linear")),
        )
        for peer, (title, bound) in PEER_GOALS.items()
    ]


def _many(summary: Summary) -> list[Goal]:
    few, many = _ends(summary.cases("CSV"))
    flat = _pair("peak_megabytes", ("CSV", "boucle", many), ("CSV", "boucle", few))
    return [
        Goal(
            "1,000 rows in one request: against naive",
            3,
            _pair("per_cpu_second", *_both("rows", "naive", "1,000 rows")),
        ),
        Goal(
            f"CSV of {many}: rows a second of one core",
            100_000,
            lambda summary: summary.value("CSV", "boucle", many, "per_cpu_second"),
            unit="rows/s",
            errors=_errors([("CSV", "boucle", many)]),
        ),
        Goal(f"CSV: peak memory of {many} against {few}", NEARLY_FLAT, flat, at_most=True),
        _workers("two workers against one, on two cores with the load generator", "1"),
        _workers("two workers on two cores against one on one, each time with the load generator", ON_ONE_CORE),
    ]


def _workers(what: str, alone: str) -> Goal:
    two = ("workers", "boucle", "2")
    return Goal(what, 1.6, _pair("per_second", two, ("workers", "boucle", alone)), errors=_errors([two]))


def _disturbances() -> list[Goal]:
    quiet = ("disturbance", "boucle", "quiet")
    cases = {
        "training": "a training run goes on",
        "swapping": "the trainer changes the champion, twice a second",
        "swapping by the API": "the API changes the champion, twice a second",
    }
    goals = []
    for case, what in cases.items():
        place = ("disturbance", "boucle", case)
        errors = _errors([place])
        goals.append(Goal(f"p99 while {what}, against quiet", 1.5, _pair("p99", place, quiet), True, errors=errors))
    return goals


def _footprint() -> list[Goal]:
    start, memory = _both("cold start", "naive", "linear"), _both("memory", "naive", "linear")
    return [
        Goal("start to first answer, against naive", 0.25, _pair("seconds", *start), at_most=True),
        Goal("memory of a worker, against naive", 0.5, _pair("worker_rss", *memory), at_most=True),
    ]


def _feedback() -> list[Goal]:
    goals = []
    disks = {"SQLite": "SQLite", SLOW: SLOW, "PostgreSQL": "SQLite", SLOW_POSTGRESQL: SLOW}
    for store, disk in disks.items():
        place, alone = ("feedback", "boucle", store), ("feedback", "naive", disk)
        what = f"durable feedback on {store}, 64 connections: against a server that syncs each row alone, on {disk}"
        goals.append(Goal(what, 20, _pair("per_second", place, alone), errors=_errors([place])))
    return goals


def _history(summary: Summary) -> list[Goal]:
    goals = []
    for what in ("predict", "feedback"):
        few, many = _ends([case for case in summary.cases("history") if case.startswith(what)])
        places = ("history", "boucle", many), ("history", "boucle", few)
        rows = many.partition(", ")[2] or "many rows"
        named = f"{what}: CPU a request with {rows} of feedback against {few.partition(', ')[2] or 'few rows'}"
        goals.append(Goal(named, NEARLY_FLAT, _pair("cpu_microseconds", *places), True, errors=_errors([places[0]])))
    few, many = _ends(summary.cases("report"))
    seconds = _pair("seconds", ("report", "boucle", many), ("report", "boucle", few))
    return [*goals, Goal(f"a report: seconds with {many} against {few}", NEARLY_FLAT, seconds, at_most=True)]


def _pair(figure: str, over: Place, under: Place) -> Callable[[Summary], Value | None]:
    return lambda summary: summary.ratio(figure, over, under)


def _both(scenario: str, other: str, case: str) -> tuple[Place, Place]:
    return (scenario, "boucle", case), (scenario, other, case)


def _errors(places: Sequence[Place]) -> Callable[[Summary], float]:
    return lambda summary: sum(summary.total(*place, "errors") for place in places)


def _ends(cases: list[str]) -> tuple[str, str]:
    """The smallest and the largest case, in the order of measuring."""
    return (cases[0], cases[-1]) if cases else ("few rows", "many rows")
