"""The exam, drawn: who scored what, by how much the challenger gained, and fold by fold."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from boucle.arrays import FloatArray
from boucle.exam import Challenger, Exam
from boucle.tracking.entries import Record

CHAMPION, WINNER, OTHER, HARM, INK, FAINT = "#b45309", "#1d4ed8", "#94a3b8", "#dc2626", "#0f172a", "#e2e8f0"
DPI = 150

# No pyplot here: it would keep every figure, and a state that threads share.
Axes = Any  # matplotlib brings no types


def comparison(record: Record) -> Figure:
    """Every score as a dot, fold by fold behind it; beside it, after an exam, the gain with its interval."""
    exam, shown = record.exam, _by_distance(record.compared, record.best)
    height = 1.9 + 0.42 * max(len(shown) + bool(exam), 4)
    figure = Figure(figsize=(11.5 if exam else 7.5, height), dpi=DPI, layout="constrained", facecolor="white")
    _title(figure, record.name, record.tags.get("verdict"), record.tags.get("reason"))
    if exam:
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        _scores(left, record.metric, shown, record.best, exam)
        _difference(right, exam)
    else:
        _scores(figure.subplots(), record.metric, shown, record.best, None)
    return figure


def folds(exam: Exam, name: str) -> Figure:
    """Champion and challenger on each fold of the exam rows, in the order in which the rows came."""
    figure = Figure(figsize=(9, 4.2), dpi=DPI, layout="constrained", facecolor="white")
    axes = figure.subplots()
    _title(figure, f"{name}: fold by fold", None, None)
    steps = np.arange(1, len(exam.folds) + 1)
    champion, challenger = (_numbers([getattr(fold, who) for fold in exam.folds]) for who in ("champion", "challenger"))
    axes.fill_between(steps, champion, challenger, color=FAINT, alpha=0.6, lw=0)
    for scores, colour, label, marker in (
        (champion, CHAMPION, f"champion {exam.champion}", "D"),
        (challenger, WINNER, f"challenger {exam.challenger}", "o"),
    ):
        axes.plot(steps, scores, color=colour, marker=marker, markersize=7, lw=2, label=label)
    axes.set_xticks(steps, [f"{fold.first_row} to {fold.last_row}" for fold in exam.folds])
    axes.set_xlabel("feedback rows")
    axes.set_ylabel(_words(exam.metric))
    axes.set_xlim(0.6, len(exam.folds) + 0.4)
    _dress(axes, "y")
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def _scores(axes: Axes, metric: str, shown: Sequence[Challenger], best: Challenger | None, exam: Exam | None) -> None:
    rows = [(one.name, one.score, one.validation, WINNER if one is best else OTHER, "o") for one in shown]
    if exam:
        per_fold = tuple(fold.champion for fold in exam.folds)
        rows.insert(0, (f"champion {exam.champion}", exam.champion_score, per_fold, CHAMPION, "D"))
    for place, (_, score, per_fold, colour, marker) in enumerate(rows):
        axes.scatter(_numbers(per_fold), [place] * len(per_fold), s=22, color=colour, alpha=0.35, lw=0)
        if score is None:
            axes.annotate("no score", (0.02, place), xycoords=("axes fraction", "data"), va="center", color=OTHER)
            continue
        axes.scatter([score], [place], s=90, color=colour, marker=marker, zorder=3)
        axes.annotate(
            f"{score:.3f}", (score, place), (0, 9), textcoords="offset points", ha="center", fontsize=9, color=INK
        )
    if exam and exam.champion_score is not None:
        axes.axvline(exam.champion_score, color=CHAMPION, lw=1, ls=(0, (4, 3)), zorder=1)
    axes.set_yticks(range(len(rows)), [row[0] for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.7)
    axes.margins(x=0.08)
    axes.set_xlabel(f"{_words(metric)}" + (f" on {exam.rows} exam rows" if exam else "") + "  (small dots: folds)")
    _dress(axes, "x")
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        if row[3] != OTHER:
            label.set(color=row[3], fontweight="bold")


def _difference(axes: Axes, exam: Exam) -> None:
    axes.set_yticks([])
    axes.set_ylim(-1, 1)
    axes.set_xlabel(f"gain of {exam.challenger} over {exam.champion}")
    axes.spines["left"].set_visible(False)
    _dress(axes, "x")
    lines = ((exam.margin, INK, "margin", "-"), (-exam.tolerance, HARM, "tolerance", "--"))
    for x, colour, label, style in lines:
        axes.axvline(x, color=colour, lw=1.4, ls=style, label=_signs(f"{label} {x:g}"))
    known = [value for value in (exam.difference, exam.lower, exam.upper) if value is not None]
    if exam.lower is not None and exam.upper is not None:
        axes.plot([exam.lower, exam.upper], [0, 0], color=WINNER, lw=4, alpha=0.45, solid_capstyle="butt")
        axes.plot([exam.lower, exam.upper], [0, 0], "|", color=WINNER, markersize=16, markeredgewidth=2)
    if exam.difference is None:
        axes.annotate("no difference is known", (0.5, 0.55), xycoords="axes fraction", ha="center", color=OTHER)
    else:
        axes.plot(exam.difference, 0, "o", color=WINNER, markersize=11)
        text = f"{exam.difference:+.3f}"
        if exam.lower is not None and exam.upper is not None:
            text += f"   [{exam.lower:+.3f}, {exam.upper:+.3f}]"
        words = axes.annotate(_signs(text), (0.5, 0.68), xycoords="axes fraction", ha="center", fontsize=11)
        words.set(color=WINNER, backgroundcolor="white")
    ends = [*known, exam.margin, -exam.tolerance]
    room = 0.12 * ((max(ends) - min(ends)) or 0.1)
    axes.set_xlim(min(ends) - 2 * room, max(ends) + 2 * room)
    axes.axvspan(axes.get_xlim()[0], -exam.tolerance, color=HARM, alpha=0.06, lw=0)
    axes.legend(loc="lower right", frameon=False, fontsize=9)
    look = f"look {exam.look}" + (", strict" if exam.strict else "")
    axes.set_title(look, fontsize=9, color=OTHER, loc="right")


def _title(figure: Figure, name: str, verdict: str | None, reason: str | None) -> None:
    head = f"{name}: {verdict}" if verdict else name
    figure.suptitle(head, x=0.01, ha="left", fontsize=13, fontweight="bold", color=INK)
    if reason:
        width = int(13 * figure.get_figwidth())  # in letters
        figure.supxlabel(
            textwrap.shorten(reason, width, placeholder=" …"), x=0.01, ha="left", fontsize=9, color="#475569"
        )


def _dress(axes: Axes, grid: str) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color=FAINT, lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    (axes.xaxis if grid == "x" else axes.yaxis).set_major_locator(MaxNLocator(6))


def _by_distance(challengers: Sequence[Challenger], best: Challenger | None) -> list[Challenger]:
    """The best first, then the closer to it the higher: right for scores and for errors alike."""
    if best is None or best.score is None:
        return list(challengers)
    top = best.score

    def distance(one: Challenger) -> tuple[bool, float]:
        return one is not best, float("inf") if one.score is None else abs(one.score - top)

    return sorted(challengers, key=distance)


def _numbers(values: Sequence[float | None]) -> FloatArray:
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def _signs(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")


def _words(metric: str) -> str:
    return metric.replace("_", " ")
