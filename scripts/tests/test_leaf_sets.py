"""Leaf sets against a walk through the trees, also where a value lies on a threshold."""

import numpy as np
import pytest

from boucle import leaf_sets as subject
from boucle.leaf_sets import LeafSets, leaf_sets

WIDTH = 5
VALUES = np.linspace(-1, 1, 9)


def tree(random, weights, depth):
    """A random tree; thresholds are few, so that trees share them."""
    nodes = []

    def grow(depth):
        number = len(nodes)
        node = {"is_leaf": depth == 0 or random.random() < 0.2, "left": 0, "right": 0}
        node |= {"feature": int(random.integers(WIDTH - 1)), "threshold": random.choice(VALUES)}
        node["weights"] = weights[random.integers(len(weights))]
        nodes.append(node)
        if not node["is_leaf"]:
            node["left"], node["right"] = grow(depth - 1), grow(depth - 1)
        return number

    grow(depth)
    return {name: np.array([node[name] for node in nodes]) for name in nodes[0]}


def walk(tree, row):
    node = 0
    while not tree["is_leaf"][node]:
        is_left = row[tree["feature"][node]] <= tree["threshold"][node]
        node = tree["left" if is_left else "right"][node]
    return tree["weights"][node]


@pytest.mark.parametrize("kinds", [2, 100])
@pytest.mark.parametrize("n_scores", [1, 3])
def test_the_sums_are_those_of_a_walk_through_every_tree(kinds, n_scores):
    random = np.random.default_rng(kinds + n_scores)
    weights = random.normal(size=(kinds, n_scores))
    trees = [tree(random, weights, depth) for depth in (0, 1, 2, 5, 5, 6)]

    sets = LeafSets(leaf_sets(trees, WIDTH))

    for row in random.choice([*VALUES, *random.normal(size=9)], size=(300, WIDTH)).tolist():
        assert sets.sums(row) == pytest.approx(sum(walk(one, row) for one in trees))


def test_there_are_none_where_they_would_be_large(monkeypatch):
    random = np.random.default_rng(0)
    trees = [tree(random, np.ones((1, 1)), 4) for _ in range(10)]
    assert leaf_sets(trees, WIDTH)

    monkeypatch.setattr(subject, "MOST_BYTES", 100)

    assert leaf_sets(trees, WIDTH) == {}
