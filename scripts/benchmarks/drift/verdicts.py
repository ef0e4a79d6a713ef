"""Every verdict on one window, by its name."""

from boucle import drift
from boucle.arrays import FloatArray
from boucle.drift import Move
from boucle.drift.concept import change
from boucle.drift.joint import separation
from boucle.drift.statistics import THRESHOLDS, exceeded, statistics
from scripts.benchmarks.drift.rows import Rows

EFFECT, SHARE = 0.25, 0.3

ALONE = " alone"
VERDICTS = ("any column", "the data", "all columns together", "prediction", "target", "errors", *THRESHOLDS)


def verdicts(reference: Rows, current: Rows, errors: FloatArray, seed: int) -> dict[str, bool]:
    """Whether each calls the window a drift; a statistic "alone" is one that knows nothing of chance."""
    moves = drift.compare(reference.records, current.records, seed)
    drifted = {move.column for move in moves if move.drifted(EFFECT)}
    return {
        "any column": bool(drifted),
        "the data": len(drifted) >= SHARE * len(current.records[0]),
        "all columns together": separation(reference.matrix, current.matrix, seed).drifted,
        "prediction": drift.move(reference.predictions, current.predictions, seed).drifted(EFFECT),
        "target": drift.move(reference.targets, current.targets, seed).drifted(EFFECT),
        "errors": change(errors.tolist()).changed,
        **_by_statistics(reference, current, [move for move in moves if not move.missing]),
    }


def _by_statistics(reference: Rows, current: Rows, moves: list[Move]) -> dict[str, bool]:
    found = dict.fromkeys([*THRESHOLDS, *(name + ALONE for name in THRESHOLDS)], False)
    for move in moves:
        values = statistics(_present(reference, move.column), _present(current, move.column))
        for name, value in values.items():
            found[name] |= name in exceeded(values, move)
            found[name + ALONE] |= value >= THRESHOLDS[name]
    return found


def _present(rows: Rows, column: str) -> list[float | bool | str]:
    return [value for record in rows.records if (value := record[column]) is not None]
