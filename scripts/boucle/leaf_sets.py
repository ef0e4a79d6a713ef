"""Small ensembles of trees as sets of leaves: one row in a few operations on whole integers.

A value of a column rules out leaves, whatever the other columns hold: those behind the splits that it does not pass.
So for every column, and every stretch between two of its thresholds, the leaves of all trees that remain are one
integer, a bit for each. Over all columns there remains one leaf of every tree: the one that the row falls into.

Source: Lucchese et al. (2015), QuickScorer, SIGIR; here with a table for each stretch instead of a mask for each split.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from itertools import pairwise
from operator import and_, getitem, mul
from typing import Any

import numpy as np

from boucle.arrays import BoolArray, FloatArray

MOST_BYTES = 4_000_000  # of the table: it grows with the square of the trees' size
FEW = 5  # kinds of leaves: so few are counted, more are added up

NAMES = ("feature", "threshold")
Nodes = Mapping[str, Any]  # one tree's arrays: is_leaf, feature, threshold, left, right; weights (n_nodes, n_scores)


class LeafSets:
    """Sums of the leaves that a row falls into."""

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        sets = [int.from_bytes(one.tobytes(), "big") for one in arrays["leaf_sets"]]
        ends = np.cumsum(arrays["leaf_thresholds_of"]).tolist()
        self._thresholds = [part.tolist() for part in np.split(arrays["leaf_thresholds"], ends[:-1])]
        # A column with n thresholds has n + 1 stretches.
        starts = [end + column for column, end in enumerate([0, *ends])]
        self._sets = [sets[start:end] for start, end in pairwise(starts)]
        self._bytes = arrays["leaf_sets"].shape[1]
        self._weights: FloatArray = arrays["leaf_weights"]
        self.sums = self._counted() or self._added

    def _counted(self) -> Callable[[Sequence[float]], list[float]] | None:
        """Sums where leaves differ little, as those of grown trees that classify: by their number."""
        kinds = sorted(set(map(tuple, self._weights.tolist())))
        if len(kinds) > FEW:
            return None
        packed = [np.packbits((self._weights == kind).all(axis=1)) for kind in kinds]
        members = [int.from_bytes(one.tobytes(), "big") for one in packed]
        columns = list(zip(*kinds, strict=True))

        def sums(seen: Sequence[float]) -> list[float]:
            leaves = self._leaves(seen)
            counts = [(leaves & one).bit_count() for one in members]
            return [sum(map(mul, counts, weights)) for weights in columns]

        return sums

    def _added(self, seen: Sequence[float]) -> list[float]:
        leaves = np.frombuffer(self._leaves(seen).to_bytes(self._bytes, "big"), np.uint8)
        sums: list[float] = np.unpackbits(leaves).dot(self._weights).tolist()
        return sums

    def _leaves(self, seen: Sequence[float]) -> int:
        return reduce(and_, map(getitem, self._sets, map(bisect_left, self._thresholds, seen)))


def leaf_sets(trees: Sequence[Nodes], width: int) -> dict[str, Any]:
    """The arrays of `LeafSets` for rows of ``width`` columns; none where they would be too large.

    A row goes left where its value is not above the threshold. The weights of a leaf are added to the scores.
    """
    n_leaves = sum(int(tree["is_leaf"].sum()) for tree in trees)
    columns, values = (np.concatenate([tree[name][~tree["is_leaf"]] for tree in trees]) for name in NAMES)
    thresholds = [np.unique(values[columns == column]) for column in range(width)]
    n_bytes = -(-n_leaves // 8)
    if n_bytes * sum(len(one) + 1 for one in thresholds) > MOST_BYTES:
        return {}
    remaining = [np.ones((len(one) + 1, n_bytes * 8), dtype=bool) for one in thresholds]
    weights: list[FloatArray] = []
    for tree in trees:
        weights += _rule_out(tree, len(weights), thresholds, remaining)
    padding = np.zeros((n_bytes * 8 - n_leaves, len(weights[0])))
    return {
        "leaf_sets": np.packbits(np.concatenate(remaining), axis=1),
        "leaf_thresholds": np.concatenate(thresholds),
        "leaf_thresholds_of": np.array([len(one) for one in thresholds]),
        "leaf_weights": np.concatenate([weights, padding]),
    }


def _rule_out(
    tree: Nodes, first: int, thresholds: Sequence[FloatArray], remaining: Sequence[BoolArray]
) -> list[FloatArray]:
    """Take from ``remaining`` what each split rules out; the weights of the tree's leaves, counted from ``first``."""
    order, first_leaf, leaves = _leaves_below(tree, first)
    for node in order:
        if not tree["is_leaf"][node]:
            column, threshold, left, right = (tree[name][node] for name in (*NAMES, "left", "right"))
            stretch = np.searchsorted(thresholds[column], threshold) + 1  # from here on a row goes right
            remaining[column][stretch:, first_leaf[left] : first_leaf[left] + leaves[left]] = False
            remaining[column][:stretch, first_leaf[right] : first_leaf[right] + leaves[right]] = False
    return [tree["weights"][node] for node in order if tree["is_leaf"][node]]


def _leaves_below(tree: Nodes, first: int) -> tuple[list[int], dict[int, int], dict[int, int]]:
    """The nodes, each before those below it; the first leaf below each, counted from ``first``; how many there are."""
    order, stack = [], [0]
    while stack:
        node = stack.pop()
        order.append(node)
        if not tree["is_leaf"][node]:
            stack += [int(tree["right"][node]), int(tree["left"][node])]
    leaves: dict[int, int] = {}
    for node in reversed(order):
        below = () if tree["is_leaf"][node] else (tree["left"][node], tree["right"][node])
        leaves[node] = sum(leaves[child] for child in below) or 1
    first_leaf = {0: first}
    for node in order:
        if not tree["is_leaf"][node]:
            first_leaf[int(tree["left"][node])] = first_leaf[node]
            first_leaf[int(tree["right"][node])] = first_leaf[node] + leaves[int(tree["left"][node])]
    return order, first_leaf, leaves
