"""The labelled rows in time order, and the batches in which their labels become known."""

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from boucle import cleaning, source
from boucle.arrays import Labels
from boucle.config import Project
from boucle.contract import Classes, Label, Record, Target
from boucle.errors import NotEnoughData

USUAL_BATCHES = 30


@dataclass(frozen=True)
class Stream:
    """Every row of the file; the first ``reference`` ones are what everybody learns before the replay begins.

    ``labels`` has shape (n_rows,): positions of the target's classes, or quantities.
    """

    records: list[Record]
    labels: Labels
    target: Target
    reference: int

    def __len__(self) -> int:
        return len(self.records)

    @property
    def is_regression(self) -> bool:
        return not isinstance(self.target, Classes)

    @property
    def n_classes(self) -> int:
        """How many classes there are; none when a quantity is predicted."""
        return self.target.n_classes or 0

    @property
    def test_labels(self) -> Labels:
        """The labels behind the reference rows, in order: those that are predicted."""
        return self.labels[self.reference :]

    def truths(self, rows: slice) -> list[Label]:
        """What was true, as clients write it."""
        found = self.labels[rows].tolist()
        return [self.target.classes[truth] for truth in found] if isinstance(self.target, Classes) else found


def read(project: Project, data: Path) -> Stream:
    """The rows of ``project.data.source`` in their order; as many are reference as `prepare` keeps of them.

    Raises:
        InvalidSource: when the file cannot be read, or has no such target.
        NotEnoughData: when too few rows are left to be predicted.
    """
    wanted = project.data
    raw = source.read(source.materialize(project, data), wanted.query, wanted.missing_values)
    table = cleaning.clean(raw, wanted.target, wanted.drop, wanted.missing_values)
    held = round(len(table) * wanted.test_share)
    if not 1 < held < len(table) - 1:
        raise NotEnoughData(f"{wanted.source}: {len(table)} rows are too few for a backtest")
    labels = table[wanted.target]
    records = cleaning.records(table.drop(columns=wanted.target))
    target = cleaning.target_of(labels, wanted.task)
    positions = np.array([target.index(label) for label in cleaning.labels_of(labels, target)])
    return Stream(records, positions, target, len(table) - held)


def batches(stream: Stream, size: int, phase: float = 0.0) -> list[slice]:
    """The rows behind the reference, cut every ``size``; a ``phase`` of 0.5 makes the first batch half as long."""
    start, end = stream.reference, len(stream)
    first = start + round(size * phase)
    bounds = [start, *range(first if first > start else start + size, end, size), end]
    return [slice(begin, stop) for begin, stop in pairwise(bounds)]


def usual_size(stream: Stream) -> int:
    """The round number (1, 2 or 5 and zeros) that cuts the stream into about thirty batches."""
    wanted = len(stream.test_labels) / USUAL_BATCHES
    sizes: list[int] = [digit * 10**power for power in range(9) for digit in (1, 2, 5)]
    return min(sizes, key=lambda size: abs(math.log(size / wanted)))
