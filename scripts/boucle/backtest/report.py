"""The backtest's figures: a table for the terminal, a CSV of scores by batch, a JSON with everything."""

import csv
import importlib.metadata
import io
import json
import math
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from boucle import files
from boucle.backtest.contest import Result, ranked
from boucle.config import Project
from boucle.files import file_digest

LIBRARIES = ("boucle", "scikit-learn", "river", "numpy", "pandas", "duckdb", "matplotlib")


def table(results: Sequence[Result]) -> str:
    """Best first; "labels" are those that the learner was fitted on by the end."""
    metric, rows = results[0].metric, len(results[0].stream.test_labels)
    batch = max(rows.stop - rows.start for rows in results[0].trials[0].batches)
    width = max(len("learner"), *(len(result.name) for result in results))
    heading = (
        f"{'learner':{width}}  {metric:>17}  {'batch mean':>10}  {'labels':>7}  {'promotions':>10}  {'seconds':>7}"
    )
    lines = [
        f"{result.name:{width}}  {result.score:17.4f}  {result.batch_mean:10.4f}  {result.trials[0].learnt:7}  "
        f"{result.promotions if result.kind == 'loop' else '':10}  {result.seconds:7.1f}"
        for result in ranked(results)
    ]
    return "\n".join([f"{metric} on {rows:,} rows in batches of {batch:,}, best first", heading, *lines])


def scores_by_batch(results: Sequence[Result]) -> str:
    """CSV: a line a batch and phase, a column a learner; rows are counted from 1, as the file's own."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(["phase", "batch", "first_row", "last_row", *(result.name for result in results)])
    for phase, trial in enumerate(results[0].trials, start=1):
        scores = [result.by_batch(result.trials[phase - 1]) for result in results]
        for number, rows in enumerate(trial.batches):
            writer.writerow([phase, number + 1, rows.start + 1, rows.stop, *(one[number] for one in scores)])
    return lines.getvalue()


def everything(project: Project, path: Path, size: int, results: Sequence[Result]) -> str:
    """JSON: what was replayed, with which libraries, and what became of everybody."""
    stream = results[0].stream
    content = {
        "data": {"name": path.name, "sha256": file_digest(path), "rows": len(stream), "reference": stream.reference},
        "project": project.model_dump(mode="json", exclude={"data": {"source"}}),
        "batch": size,
        "phases": len(results[0].trials),
        "libraries": {"python": platform.python_version(), **{name: _installed(name) for name in LIBRARIES}},
        "learners": [_told(result) for result in ranked(results)],
    }
    return json.dumps(content, indent=2)


def write(out: Path, project: Project, path: Path, size: int, results: Sequence[Result]) -> None:
    """Write ``scores.csv`` and ``backtest.json`` to the folder ``out``."""
    files.replace(out / "scores.csv", scores_by_batch(results).encode())
    files.replace(out / "backtest.json", everything(project, path, size, results).encode())


def _told(result: Result) -> dict[str, Any]:  # an object of JSON
    return {
        "name": result.name,
        "kind": result.kind,
        result.metric: result.score,
        "batch_mean": result.batch_mean,
        "promotions": result.promotions,
        "seconds": result.seconds,
        "phases": [
            {
                result.metric: result.overall(trial),
                "labels": trial.learnt,
                "seconds": trial.seconds,
                "by_batch": [None if math.isnan(value) else value for value in result.by_batch(trial)],
                "verdicts": [vars(verdict) for verdict in trial.verdicts],
            }
            for trial in result.trials
        ],
    }


def _installed(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
