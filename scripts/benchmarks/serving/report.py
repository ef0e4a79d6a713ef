"""What a run writes: the table in Markdown, and everything as JSON."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field

from scripts.benchmarks.serving.goals import TIMES, all_goals, shown
from scripts.benchmarks.serving.machine import MOST_OTHERS
from scripts.benchmarks.serving.material import TITLES
from scripts.benchmarks.serving.measurements import Failure, Measurement, Summary, Value

VERDICTS = {True: "yes", False: "**no**", None: "not measured"}
NOISY = " ~"
SHARE_TO_DISBELIEVE = 0.25


@dataclass(frozen=True)
class Run:
    """A whole run: what it was made with, what it measured, and what it could not."""

    made_at: str
    commit: str
    command: str
    machine: dict[str, str | int]
    titles: dict[str, str]
    measurements: list[Measurement]
    failures: list[Failure]
    packages: dict[str, list[str]] = field(default_factory=dict)

    @property
    def summary(self) -> Summary:
        """Its medians."""
        return Summary(self.measurements)


def as_json(run: Run) -> str:
    """Everything, raw."""
    summary = run.summary
    goals = [
        {
            "goal": goal.what,
            "wanted": goal.wanted,
            "measured": value.number if (value := goal.measured(summary)) else None,
            "is_met": goal.is_met(summary),
            "is_quiet": value.is_quiet if value else None,
        }
        for goal in all_goals(summary)
    ]
    return json.dumps(asdict(run) | {"goals": goals}, indent=1)


def as_markdown(run: Run) -> str:
    """The tables, as README shows them."""
    parts = [_introduction(run), noise(run.summary), _goals(run.summary), _single(run), _peers(run), _others(run)]
    return "\n\n".join(part for part in [*parts, _failures(run)] if part) + "\n"


def noise(summary: Summary) -> str:
    """How far the figures can be believed."""
    told = f"Others used {summary.others:.0%} of the machine (median over the measurements)"
    if summary.disturbed > SHARE_TO_DISBELIEVE:
        return (
            f"**The machine was too noisy to believe the clock.** {told}, and more than {MOST_OTHERS:.0%} during "
            f"{summary.disturbed:.0%} of them, marked{NOISY}. Figures per CPU second suffer least; repeat the run on a "
            "quiet machine before you quote any."
        )
    return f"{told}; {summary.disturbed:.0%} of them were disturbed, and count only where{NOISY} stands."


def _introduction(run: Run) -> str:
    machine = run.machine
    where = f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, Linux {machine['kernel']}"
    libraries = f"Python {machine['python']}, uvicorn {machine['uvicorn']}, scikit-learn {machine['scikit-learn']}"
    return (
        f"`{run.command}` on {run.made_at}, commit {run.commit}: {where}; {libraries}. Server on one core, load on "
        "another; breast cancer, 30 named fields; the rounds of all servers interleaved, medians shown. Ratios are of "
        "requests per CPU second of the server's processes unless they say otherwise. naive and the other "
        "tools call scikit-learn; Boucle calls the scorer that it has compiled from its own model, all checks on."
    )


def _goals(summary: Summary) -> str:
    rows = []
    for goal in all_goals(summary):
        value = goal.measured(summary)
        errors = goal.errors(summary)
        measured = f"{shown(value.number, goal.unit)}{'' if value.is_quiet else NOISY}" if value else ""
        measured += f", {errors:,.0f} errors" if errors else ""
        rows.append((goal.what, goal.wanted, measured, VERDICTS[goal.is_met(summary)]))
    return _table(("goal", "wanted", "measured", "met"), rows, numbers={1, 2})


def _single(run: Run) -> str:
    summary, rows = run.summary, []
    for case in summary.cases("single"):
        model, connections = case.split(", ")
        for name in summary.contenders("single"):
            place = ("single", name, case)
            if summary.value(*place, "per_second") is None:
                continue
            cells = _cells(summary, place, ("per_second", "cpu_microseconds", "p50", "p99"))
            against = [summary.ratio("per_cpu_second", place, ("single", other, case)) for other in ("naive", "noop")]
            ratios = [_cell(against[0], TIMES), _cell(against[1], "%")]
            errors = f"{summary.total(*place, 'errors'):,.0f}"
            rows.append((TITLES[model], connections, run.titles[name], *cells, *ratios, errors))
    heads = ("model", "connections", "server", "requests/s", "CPU µs", "p50 ms", "p99 ms", "naive", "no-op", "errors")
    return _section("One row a request", heads, rows, {1, *range(3, 10)})


def _peers(run: Run) -> str:
    summary, rows = run.summary, []
    for model in summary.cases("peers"):
        for name in run.titles:
            place = ("peers", name, model)
            if summary.value(*place, "per_second") is None:
                continue
            cells = _cells(summary, place, ("per_second", "cpu_microseconds", "p50", "p99"))
            ahead = summary.ratio("per_cpu_second", ("peers", "boucle", model), place)
            memory = summary.value("peers memory", name, model, "all_pss")
            start = summary.value("cold start", name, "linear", "seconds")
            version = _version(run, name)
            rows.append(
                (TITLES[model], run.titles[name] + version, *cells, _cell(ahead, TIMES), _cell(memory), _cell(start))
            )
    heads = ("model", "server", "requests/s", "CPU µs", "p50 ms", "p99 ms", "Boucle is ahead", "memory MB", "start s")
    return _section("Other tools, 8 connections", heads, rows, set(range(2, 9)))


def _others(run: Run) -> str:
    units = {
        "rows": ("1,000 rows in one request", ("per_second", "cpu_microseconds", "p50", "p99")),
        "CSV": ("A CSV through `/predict/batch`", ("per_second", "per_cpu_second", "peak_megabytes")),
        "workers": (
            "Workers, 64 connections, the load generator on the same cores",
            ("per_second", "cpu_microseconds", "p50", "p99"),
        ),
        "disturbance": ("200 requests a second, nothing pinned", ("per_second", "cpu_microseconds", "p50", "p99")),
        "feedback": ("Durable feedback, 64 connections", ("per_second", "cpu_microseconds", "p50", "p99")),
        "history": ("A growing history, 8 connections", ("per_second", "cpu_microseconds", "p50", "p99")),
        "report": ("A report, with a history", ("seconds",)),
        "start": ("From start to first answer, with a history", ("seconds",)),
        "cold start": ("From start to first answer", ("seconds",)),
        "memory": ("Memory after the load", ("worker_rss", "worker_pss", "all_rss", "all_pss")),
    }
    return "\n\n".join(
        section for scenario, (title, figures) in units.items() if (section := _plain(run, scenario, title, figures))
    )


def _plain(run: Run, scenario: str, title: str, figures: Sequence[str]) -> str:
    summary, rows = run.summary, []
    for case in summary.cases(scenario):
        for name in summary.contenders(scenario):
            place = (scenario, name, case)
            cells = _cells(summary, place, figures)
            if any(cells):
                errors = f"{summary.total(*place, 'errors'):,.0f}"
                rows.append((run.titles.get(name, name), TITLES.get(case, case), *cells, errors))
    names = {
        "per_second": "rows/s" if scenario == "CSV" else "requests/s",
        "per_cpu_second": "rows/s of one core",
        "cpu_microseconds": "CPU µs",
        "p50": "p50 ms",
        "p99": "p99 ms",
        "peak_megabytes": "peak MB",
        "worker_rss": "worker RSS MB",
        "worker_pss": "worker PSS MB",
        "all_rss": "all processes RSS MB",
        "all_pss": "all processes PSS MB",
    }
    heads = ("server", "case", *(names.get(figure, figure) for figure in figures), "errors")
    return _section(title, heads, rows, set(range(2, len(heads))))


def _failures(run: Run) -> str:
    if not run.failures:
        return ""
    rows = [(one.scenario, one.contender, one.reason) for one in run.failures]
    return _section("Not measured", ("scenario", "server", "why"), rows, set())


def _version(run: Run, name: str) -> str:
    pins = dict(line.split("==") for line in run.packages.get(name, []) if "==" in line)
    return f" {pins[name]}" if name in pins else ""


def _cells(summary: Summary, place: tuple[str, str, str], figures: Iterable[str]) -> list[str]:
    return [_cell(summary.value(*place, figure)) for figure in figures]


def _cell(value: Value | None, unit: str = "") -> str:
    return f"{shown(value.number, unit).strip()}{'' if value.is_quiet else NOISY}" if value else ""


def _section(title: str, heads: Sequence[str], rows: Sequence[tuple[str, ...]], numbers: set[int]) -> str:
    return f"### {title}\n\n{_table(heads, rows, numbers)}" if rows else ""


def _table(heads: Sequence[str], rows: Sequence[tuple[str, ...]], numbers: set[int]) -> str:
    rules = ["--:" if column in numbers else "---" for column in range(len(heads))]
    cells = [[cell.replace("|", "/").replace("\n", " ") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [heads, rules, *cells])
