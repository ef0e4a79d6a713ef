"""What a person reads of a training: tables as CSV, plots as PNG, and the exam as it was stored."""

from pathlib import Path

import pandas as pd

from boucle.exam import Challenger, Exam
from boucle.tracking import plots
from boucle.tracking.entries import Record


def write(record: Record, folder: Path) -> None:
    """Fill ``folder`` with the tables and plots of what the training compared."""
    place = folder / ("exam" if record.exam else "comparison")
    place.mkdir(parents=True, exist_ok=True)
    if record.compared:
        _challengers(record).to_csv(place / "challengers.csv", index=False)
        plots.comparison(record).savefig(place / "comparison.png")
    if record.exam:
        _folds(record.exam).to_csv(place / "folds.csv", index=False)
        plots.folds(record.exam, record.name).savefig(place / "folds.png")
        (place / "exam.json").write_text(record.exam.model_dump_json(indent=2), encoding="utf-8")


def _challengers(record: Record) -> pd.DataFrame:
    rows = [_row(challenger, record.metric) for challenger in record.compared]
    if record.exam:
        rows.insert(0, {"name": f"champion {record.exam.champion}", record.metric: record.exam.champion_score})
    return pd.DataFrame(rows)


def _row(challenger: Challenger, metric: str) -> dict[str, object]:
    parameters = ", ".join(f"{name} = {value}" for name, value in challenger.parameters.items())
    return {
        "name": challenger.name,
        metric: challenger.score,
        "strategy": challenger.strategy,
        "algorithm": challenger.algorithm,
        "parameters": parameters,
    }


def _folds(exam: Exam) -> pd.DataFrame:
    return pd.DataFrame([fold.model_dump() for fold in exam.folds])
