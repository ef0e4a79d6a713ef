"""Since which row a column has been far from the reference.

The rows are cut where both parts differ most: the largest chi-square statistic over all places, for a multinomial
sequence, as in Riba and Ginebra (2005), Journal of Applied Statistics 32(1). Numbers are taken as the decile of the
reference that they lie in, so that a change of any kind counts and a wild value is one value.
"""

from collections.abc import Callable, Sequence

import numpy as np

from boucle.arrays import FloatArray, IndexArray
from boucle.drift.moves import Value, are_categories

# A part of fewer rows is not judged: where the change lies nearer to an end, it is told to be there.
FEWEST = 20
DECILES = np.linspace(0.1, 0.9, 9)
# More rows of a part make the judgement slower and hardly surer.
MOST = 500
# A value that is rarer makes the statistic large by chance.
RARE = 5

Judge = Callable[[Sequence[Value]], bool]


def onset(known: Sequence[Value], current: Sequence[Value], is_far: Judge) -> int | None:
    """The position in ``current`` from which on its values are far from ``known``, as ``is_far`` judges.

    What lies before it is not far. 0 when all are far, and so the change is older; None when it is found nowhere.
    """
    codes, end = _codes(known, current), len(current)
    while (position := _split(codes[:end])) is not None:
        if not is_far(current[:position][-MOST:]):
            return position if is_far(current[position:][:MOST]) else None
        end = position  # it began before, in a first step
    return 0 if current and is_far(current[:MOST]) else None


def _split(codes: IndexArray) -> int | None:
    """Where the codes before and from there on differ most; None when there are too few of them, or of one kind."""
    rows = len(codes)
    if rows < 2 * FEWEST:
        return None
    shares = _indicators(codes)
    if shares.shape[1] < 2:
        return None
    before = np.arange(1, rows)[:, np.newaxis]
    counted, total = np.cumsum(shares, axis=0)[:-1], shares.sum(axis=0)
    gaps = counted / before - (total - counted) / (rows - before)
    weights = before[:, 0] * (rows - before[:, 0])
    statistic = weights * (gaps**2 / total).sum(axis=1)
    inner = slice(FEWEST - 1, rows - FEWEST)
    return FEWEST + int(np.argmax(statistic[inner]))


def _indicators(codes: IndexArray) -> FloatArray:
    """Shape (n_rows, n_codes): 1 where the row has the code; the rare ones share a column."""
    kinds, places, counts = np.unique(codes, return_inverse=True, return_counts=True)
    columns = np.where(counts >= RARE, np.arange(len(kinds)), len(kinds))[places]
    _, columns = np.unique(columns, return_inverse=True)
    return np.eye(columns.max() + 1)[columns]


def _codes(known: Sequence[Value], current: Sequence[Value]) -> IndexArray:
    """A category, or the decile of the reference, as an integer; -1 is missing."""
    present = [value for value in known if value is not None]
    seen = [value for value in current if value is not None]
    if are_categories(present) or are_categories(seen) or not present:
        names = {name: code for code, name in enumerate(sorted({str(value) for value in seen}))}
        return np.array([-1 if value is None else names[str(value)] for value in current])
    edges = np.unique(np.quantile(np.array(present, dtype=np.float64), DECILES))
    numbers = np.array([np.nan if value is None else value for value in current], dtype=np.float64)
    return np.where(np.isnan(numbers), -1, np.searchsorted(edges, numbers))
