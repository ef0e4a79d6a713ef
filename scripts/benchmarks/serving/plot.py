"""The run as one picture."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scripts.benchmarks.serving.goals import TIMES
from scripts.benchmarks.serving.report import Run, noise

OURS, THEIRS, LIMIT, INK = "#0b6e99", "#b8c4cc", "#e0a030", "#22303a"
Panel = Callable[[Axes], None]
SETTINGS: dict[Any, Any] = {  # keys as matplotlib spells them
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": "#8a97a0",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": "#e3e8eb",
}


def draw(run: Run, path: Path) -> None:
    """Write the picture; what was not measured has no panel."""
    panels = [panel for make in (_cost, _models, _waits, _footprint) if (panel := make(run))]
    if not panels:
        return
    with mpl.rc_context(SETTINGS):
        columns = min(2, len(panels))
        lines = -(-len(panels) // columns)
        figure = Figure(figsize=(7 * columns, 4.2 * lines + 0.8), layout="constrained")
        axes = figure.subplots(lines, columns, squeeze=False).flatten()
        for axis, panel in zip(axes, panels, strict=False):
            panel(axis)
        for axis in axes[len(panels) :]:
            axis.set_visible(False)
        machine = run.machine
        title = f"Boucle's serving, {run.made_at}: {machine['processor']}, {machine['cores']} cores"
        figure.suptitle(title, fontsize=14, fontweight="bold", x=0.01, ha="left")
        figure.supxlabel(noise(run.summary).replace("*", ""), fontsize=8, x=0.01, ha="left", wrap=True)
        figure.savefig(path, dpi=150)


def _cost(run: Run) -> Panel | None:
    """What one request costs, for everybody."""
    summary = run.summary
    costs = {
        name: value.number
        for name in run.titles
        for place in (("single", name, "linear, 8"), ("peers", name, "linear"))
        if (value := summary.value(*place, "cpu_microseconds"))
    }
    costs = dict(sorted(costs.items(), key=lambda pair: -pair[1]))
    if not costs:
        return None

    def panel(axis: Axes) -> None:
        bars = axis.barh([run.titles[name] for name in costs], list(costs.values()), color=_colours(list(costs)))
        axis.bar_label(bars, [f"{cost:,.0f} µs" for cost in costs.values()], padding=4)
        axis.set_xscale("log")
        axis.set_xlim(min(costs.values()) / 2, max(costs.values()) * 5)
        axis.set_title("Server CPU per request")
        axis.set_xlabel("µs, logarithmic; logistic regression, 8 connections")
        axis.grid(axis="x")

    return panel


def _models(run: Run) -> Panel | None:
    """How near each model comes to the limit."""
    summary, shares = run.summary, {}
    for case in summary.cases("single"):
        for name in ("boucle", "naive"):
            ratio = summary.ratio("per_cpu_second", ("single", name, case), ("single", "noop", case))
            if ratio:
                shares[case, name] = ratio.number
    cases = list(dict.fromkeys(case for case, _ in shares))
    if not cases:
        return None

    def panel(axis: Axes) -> None:
        for shift, name in ((-0.2, "boucle"), (0.2, "naive")):
            heights = [shares.get((case, name), 0.0) for case in cases]
            places = [place + shift for place in range(len(cases))]
            bars = axis.bar(places, heights, width=0.38, color=_colours([name]), label=run.titles[name])
            axis.bar_label(bars, [f"{height:.0%}" for height in heights], padding=2, fontsize=8)
        axis.axhline(0.7, color=LIMIT, linewidth=1.5, label="goal, linear: 70 %")
        axis.axhline(0.45, color=LIMIT, linewidth=1.5, linestyle=":", label="goal, the others: 45 %")
        labels = [f"{model}\n{connections}" for model, connections in (case.split(", ") for case in cases)]
        axis.set_xticks(range(len(cases)), labels, fontsize=8)
        axis.set_ylim(0, max(1.0, *(1.1 * share for share in shares.values())))
        axis.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        axis.set_title("Share of the bare no-op, per CPU second")
        axis.set_xlabel("model, connections")
        axis.legend(frameon=False, fontsize=8, ncols=2, loc="upper right")
        axis.grid(axis="y")

    return panel


def _waits(run: Run) -> Panel | None:
    """What a client waits while something disturbs the server."""
    summary = run.summary
    cases = summary.cases("disturbance")
    found = [
        (case, p50.number, p99.number)
        for case in cases
        if (p50 := summary.value("disturbance", "boucle", case, "p50"))
        and (p99 := summary.value("disturbance", "boucle", case, "p99"))
    ]
    if not found:
        return None

    def panel(axis: Axes) -> None:
        for shift, position, label, colour in ((-0.2, 1, "p50", THEIRS), (0.2, 2, "p99", OURS)):
            heights = [one[position] for one in found]
            bars = axis.bar([place + shift for place in range(len(found))], heights, 0.38, color=colour, label=label)
            axis.bar_label(bars, [f"{height:,.1f}" for height in heights], padding=2, fontsize=8)
        axis.axhline(1.5 * found[0][2], color=LIMIT, linewidth=1.5, label=f"goal: 1.5 {TIMES} the quiet p99")
        axis.set_xticks(range(len(found)), [case for case, *_ in found])
        axis.set_title("Latency of Boucle, ms")
        axis.set_xlabel("200 requests a second, on their schedule")
        axis.margins(y=0.2)
        axis.legend(frameon=False, fontsize=8)
        axis.grid(axis="y")

    return panel


def _footprint(run: Run) -> Panel | None:
    """What a server takes before it does anything."""
    summary = run.summary
    weights = {
        name: (
            value.number,
            start.number if (start := summary.value("cold start", name, "linear", "seconds")) else None,
        )
        for name in run.titles
        for scenario in ("memory", "peers memory")
        if (value := summary.value(scenario, name, "linear", "all_pss"))
    }
    weights = dict(sorted(weights.items(), key=lambda pair: -pair[1][0]))
    if not weights:
        return None

    def panel(axis: Axes) -> None:
        sizes = [size for size, _ in weights.values()]
        bars = axis.barh([run.titles[name] for name in weights], sizes, color=_colours(list(weights)))
        told = [f"{size:,.0f} MB" + (f", {start:.1f} s" if start else "") for size, start in weights.values()]
        axis.bar_label(bars, told, padding=4)
        axis.set_xlim(0, 1.35 * max(sizes))
        axis.set_title("Memory, and start to first answer")
        axis.set_xlabel("MB (PSS) of all processes, one worker")
        axis.grid(axis="x")

    return panel


def _colours(names: list[str]) -> list[str]:
    return [{"boucle": OURS, "noop": LIMIT}.get(name, THEIRS) for name in names]
