"""From a fitted embedding and model to the arrays of `boucle.scorer`, used only if they agree with what was pickled."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier, SGDRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from boucle.arrays import FloatArray
from boucle.contract import Category, Contract, Quantity, Record
from boucle.embedding import Embedding
from boucle.leaf_sets import leaf_sets
from boucle.models import Model
from boucle.scorer import DECIMALS, CompiledEmbedding, Scorer, dump

AGREEMENT = 1e-5
"""The largest difference of two probabilities, or of two quantities in units of the target's range, that is allowed."""
CHUNK = 10_000
BISECTIONS = 80  # from any interval to two neighbouring doubles
OPSETS = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]


class NotCompilable(Exception):
    """The model is of a kind that has no compiled form here; the message says which."""


@dataclass(frozen=True)
class Compilation:
    """The content of the scorer's file, or None and why scikit-learn serves instead."""

    content: bytes | None
    kind: str
    verdict: str


def compile_version(embedding: Embedding, model: Model, records: Sequence[Record]) -> Compilation:
    """The embedding and the model compiled, provided that they agree with the pickled ones on all the records."""
    try:
        arrays = embedding_arrays(embedding) | _head(embedding, model) | _outputs(model)
    except NotCompilable as reason:
        return Compilation(None, "scikit-learn", str(reason))
    differences = _differences(embedding, model, arrays, records)
    if differences.labels or not differences.largest < AGREEMENT:  # not a number is no agreement either
        return Compilation(None, "scikit-learn", f"the compiled scorer does not agree: {differences}")
    return Compilation(dump(arrays), str(arrays["kind"]), f"the compiled scorer agrees: {differences}")


@dataclass(frozen=True)
class Differences:
    """Between the compiled version and the pickled one."""

    rows: int
    labels: int
    largest: float

    def __str__(self) -> str:
        return f"{self.labels} other labels in {self.rows:,} reference rows, largest difference {self.largest:.1e}"


def _differences(embedding: Embedding, model: Model, arrays: dict[str, Any], records: Sequence[Record]) -> Differences:
    contract = embedding.contract
    scorer, compiled = Scorer(contract, arrays), CompiledEmbedding(embedding.id, contract, arrays)
    labels, largest = 0, 0.0
    names = [feature.name for feature in contract.features]
    for start in range(0, len(records), CHUNK):
        chunk = records[start : start + CHUNK]
        vectors = embedding.vectors(chunk)
        truth = model.outputs(vectors)
        outputs = scorer.matrix([[record[name] for record in chunk] for name in names])
        rows = np.array([scorer.row([record[name] for name in names]) for record in chunk])
        for found in (outputs, rows):
            largest = _larger(largest, np.abs(found - truth) / _unit(contract))
            if model.n_classes is not None:
                labels += int((found.argmax(axis=1) != truth.argmax(axis=1)).sum())
        largest = _larger(largest, np.abs(compiled.vectors(chunk) - vectors))
    return Differences(len(records), labels, largest)


def _larger(largest: float, differences: FloatArray) -> float:
    return float(np.max([largest, differences.max(initial=0.0)]))  # Python's max would lose what is not a number


def _unit(contract: Contract) -> float:
    target = contract.target
    return (target.maximum - target.minimum) or 1.0 if isinstance(target, Quantity) else 1.0


def embedding_arrays(embedding: Embedding) -> dict[str, Any]:
    """What `boucle.scorer.CompiledEmbedding` computes with."""
    contract, projector = embedding.contract, embedding.projector
    numbers = [feature for feature in contract.features if not isinstance(feature, Category)]
    medians, means, scales = (np.empty(0),) * 3
    if numbers:
        imputer, scaler = (step for _, step in embedding.scaler.named_transformers_["numbers"].steps)
        medians, means, scales = imputer.statistics_, scaler.mean_, scaler.scale_
    return {
        "medians": np.asarray(medians, dtype=np.float64),
        "means": np.asarray(means, dtype=np.float64),
        "scales": np.asarray(scales, dtype=np.float64),
        "components": projector.components_,
        "center": projector.mean_,
        "names": np.array(embedding.columns),
    }


def _outputs(model: Model) -> dict[str, Any]:
    if model.n_classes is None:
        return {"n_outputs": np.array(1), "positions": np.array([0])}
    return {"n_outputs": np.array(model.n_classes), "positions": np.asarray(model.estimator.classes_, dtype=np.int64)}


@dataclass(frozen=True)
class _Affine:
    """``rows @ matrix + offset``: scaling, rotations and a model's first layer are one such map."""

    matrix: FloatArray
    offset: FloatArray

    def then_scaled(self, shift: FloatArray, scale: FloatArray) -> "_Affine":
        return _Affine(self.matrix / scale, (self.offset - shift) / scale)

    def then_rotated(self, projector: Any) -> "_Affine":
        rotation = projector.components_.T
        return _Affine(self.matrix @ rotation, (self.offset - projector.mean_) @ rotation)

    def then_layer(self, weights: FloatArray, bias: FloatArray) -> "_Affine":
        return _Affine(self.matrix @ weights, self.offset @ weights + bias)


def _head(embedding: Embedding, model: Model) -> dict[str, Any]:
    estimator, unit = model.estimator, _Affine(np.ones((1, 1)), np.zeros(1))
    if isinstance(estimator, TransformedTargetRegressor):
        scaler = estimator.transformer_
        estimator, unit = estimator.regressor_, _Affine(scaler.scale_.reshape(1, 1), scaler.mean_)
    *before, last = [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else [estimator]
    match last:
        case LogisticRegression() | SGDClassifier() | Ridge() | SGDRegressor():
            return _linear(last, _seen(_scaling(embedding), embedding, before), unit)
        case MLPClassifier() | MLPRegressor():
            return _network(last, _seen(_scaling(embedding), embedding, before), unit)
        case RandomForestClassifier() | RandomForestRegressor():
            return _trees(_forest(last), _Sight.of(embedding, before, np.float32))
        case HistGradientBoostingClassifier() | HistGradientBoostingRegressor():
            return _trees(_boosting(last), _Sight.of(embedding, before, np.float64))
    raise NotCompilable(f"{type(last).__name__} has no compiled form")


def _scaling(embedding: Embedding) -> _Affine:
    """From columns (see `boucle.encoding.Columns`) to scaled ones; those of categories stay 0 or 1."""
    shift, scale = _shift_and_scale(embedding)
    return _Affine(np.diag(1 / scale), -shift / scale)


def _shift_and_scale(embedding: Embedding) -> tuple[FloatArray, FloatArray]:
    arrays = embedding_arrays(embedding)
    shift, scale = np.zeros(len(arrays["center"])), np.ones(len(arrays["center"]))
    numbers = slice(len(arrays["means"]))
    shift[numbers], scale[numbers] = arrays["means"], arrays["scales"]
    return shift, scale


def _seen(scaled: _Affine, embedding: Embedding, before: Sequence[Any]) -> _Affine:
    """What the model sees; the rounding to nine decimals is left out, as no smooth function notices it."""
    seen = scaled.then_rotated(embedding.projector)
    for step in before:
        if isinstance(step, FrozenEstimator):
            seen = seen.then_rotated(step.estimator)
        elif isinstance(step, StandardScaler):
            seen = seen.then_scaled(step.mean_, step.scale_)
    return seen


def _linear(estimator: Any, seen: _Affine, unit: _Affine) -> dict[str, Any]:
    coefficients = np.atleast_2d(estimator.coef_)
    scores = seen.then_layer(coefficients.T, np.atleast_1d(estimator.intercept_))
    link = "identity"
    if hasattr(estimator, "classes_"):
        several = "softmax" if isinstance(estimator, LogisticRegression) else "one against rest"
        link = "two classes" if len(coefficients) == 1 else several
        if getattr(estimator, "loss", "log_loss") != "log_loss":
            raise NotCompilable(f"the probabilities of loss={estimator.loss!r} have no compiled form")
    else:
        scores = scores.then_layer(unit.matrix, unit.offset)
    return _named("linear", link) | {"weights": scores.matrix, "bias": scores.offset}


def _network(estimator: Any, seen: _Affine, unit: _Affine) -> dict[str, Any]:
    layers = [_Affine(*layer) for layer in zip(estimator.coefs_, estimator.intercepts_, strict=True)]
    layers[0] = seen.then_layer(layers[0].matrix, layers[0].offset)
    if estimator.out_activation_ == "identity":
        layers[-1] = layers[-1].then_layer(unit.matrix, unit.offset)
    link = {"logistic": "two classes"}.get(estimator.out_activation_, estimator.out_activation_)
    arrays = _named("network", link) | {
        "n_layers": np.array(len(layers)),
        "activation": np.array(estimator.activation),
    }
    for number, layer in enumerate(layers):
        arrays |= {f"weights_{number}": layer.matrix, f"bias_{number}": layer.offset}
    return arrays


@dataclass(frozen=True)
class _Sight:
    """How trees see a version's columns: rotated, scaled, rounded to nine decimals, in the precision they compare in.

    ``rotation`` is None when scaled columns come back as they were, which they do when all components were kept.
    """

    rotation: FloatArray | None
    shift: FloatArray
    scale: FloatArray
    precision: type[np.floating[Any]]

    @classmethod
    def of(cls, embedding: Embedding, before: Sequence[Any], precision: type[np.floating[Any]]) -> "_Sight":
        width = len(embedding.projector.mean_)
        seen = _seen(_Affine(np.eye(width), np.zeros(width)), embedding, before)
        is_unchanged = seen.matrix.shape == (width, width) and np.allclose(seen.matrix, np.eye(width), atol=1e-12)
        if is_unchanged and np.allclose(seen.offset, 0, atol=1e-12):
            return cls(None, *_shift_and_scale(embedding), precision)
        seen = _seen(_scaling(embedding), embedding, before)
        return cls(seen.matrix, -seen.offset, np.ones(len(seen.offset)), precision)

    @property
    def width(self) -> int:
        """How many columns trees can look at."""
        return len(self.shift)

    def seen(self, values: FloatArray, feature: Any) -> FloatArray:
        """What trees see of values of one column each, which may be a rotated one."""
        scaled = (values - self.shift[feature]) / self.scale[feature]
        return np.asarray(np.rint(scaled * DECIMALS) / DECIMALS).astype(self.precision).astype(np.float64)

    def thresholds(self, feature: Any, seen: FloatArray) -> FloatArray:
        """For thresholds of what is seen, the largest doubles of the columns themselves that are not above them.

        So the trees need no scaled and no rounded columns, and still send every row where scikit-learn does: found by
        bisection, as what is seen only rises with the column.
        """
        guess = seen * self.scale[feature] + self.shift[feature]
        # Wider than rounding, single precision and the guess's own error can move it.
        reach = self.scale[feature] * (1e-8 + 1e-6 * np.abs(seen)) + 1e-12 * np.abs(guess)
        below, above = guess - reach, guess + reach
        for _ in range(BISECTIONS):
            middle = below + (above - below) / 2
            is_left = self.seen(middle, feature) <= seen
            below, above = np.where(is_left, middle, below), np.where(is_left, above, middle)
        return np.asarray(below)


def _trees(trees: "_Ensemble", sight: _Sight) -> dict[str, Any]:
    arrays = _named("trees", trees.link) | {"base": trees.base, "divisor": np.array(trees.divisor)}
    nodes = [node | {"threshold": sight.thresholds(node["feature"], node["threshold"])} for node in trees.nodes]
    arrays |= leaf_sets(_with_all_scores(nodes, trees), sight.width)
    if sight.rotation is not None:
        arrays["rotation"] = sight.rotation
    return arrays | {"onnx": _onnx(nodes, trees.targets, len(trees.base))}


def _with_all_scores(nodes: Sequence[dict[str, Any]], trees: "_Ensemble") -> list[dict[str, Any]]:
    """The nodes, their weights spread over all scores: a tree may add to some only."""
    unit = np.eye(len(trees.base))
    return [
        tree | {"weights": tree["weights"] @ unit[target]} for tree, target in zip(nodes, trees.targets, strict=True)
    ]


@dataclass(frozen=True)
class _Ensemble:
    """Trees whose leaves are summed, then divided and added to ``base`` (n_scores,)."""

    nodes: Sequence[dict[str, Any]]
    targets: Sequence[Sequence[int]]
    base: FloatArray
    divisor: float
    link: str


def _forest(estimator: Any) -> _Ensemble:
    nodes = [_of_forest(member.tree_) for member in estimator.estimators_]
    n_scores = nodes[0]["weights"].shape[1]
    return _Ensemble(nodes, [range(n_scores)] * len(nodes), np.zeros(n_scores), float(len(nodes)), "identity")


def _boosting(estimator: Any) -> _Ensemble:
    n_scores = estimator.n_trees_per_iteration_
    link = ("two classes" if n_scores == 1 else "softmax") if hasattr(estimator, "classes_") else "identity"
    if link == "identity" and estimator.loss not in ("squared_error", "absolute_error", "quantile"):
        raise NotCompilable(f"the link of loss={estimator.loss!r} has no compiled form")
    nodes = [_of_boosting(member.nodes) for iteration in estimator._predictors for member in iteration]
    targets = [[number % n_scores] for number in range(len(nodes))]
    return _Ensemble(nodes, targets, np.ravel(estimator._baseline_prediction), 1.0, link)


def _of_forest(tree: Any) -> dict[str, Any]:
    return {
        "is_leaf": tree.children_left < 0,
        "feature": np.maximum(tree.feature, 0),
        "threshold": tree.threshold,
        "left": np.maximum(tree.children_left, 0),
        "right": np.maximum(tree.children_right, 0),
        "weights": tree.value[:, 0, :],
    }


def _of_boosting(nodes: Any) -> dict[str, Any]:
    if nodes["is_categorical"].any():
        raise NotCompilable("splits of boosting on categories have no compiled form")
    return {
        "is_leaf": nodes["is_leaf"].astype(bool),
        "feature": nodes["feature_idx"],
        "threshold": np.where(nodes["is_leaf"], 0.0, nodes["num_threshold"]),
        "left": nodes["left"],
        "right": nodes["right"],
        "weights": nodes["value"].reshape(-1, 1),
    }


def _onnx(trees: Sequence[dict[str, Any]], targets: Sequence[Sequence[int]], n_scores: int) -> Any:
    """One ONNX operator that sums the leaves.

    In and thresholds are doubles, since rounded ones would send rows elsewhere; the sums come out in single precision.
    """
    sizes = [len(tree["is_leaf"]) for tree in trees]
    nodes = {name: np.concatenate([tree[name] for tree in trees]) for name in trees[0] if name != "weights"}
    numbers = np.concatenate([np.arange(size) for size in sizes])
    leaves = [np.flatnonzero(tree["is_leaf"]) for tree in trees]
    weights = [tree["weights"][kept] for tree, kept in zip(trees, leaves, strict=True)]
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["rows"],
        ["scores"],
        domain="ai.onnx.ml",
        n_targets=n_scores,
        aggregate_function="SUM",
        post_transform="NONE",
        nodes_treeids=np.repeat(np.arange(len(trees)), sizes).tolist(),
        nodes_nodeids=numbers.tolist(),
        nodes_featureids=nodes["feature"].tolist(),
        nodes_values_as_tensor=_doubles(nodes["threshold"]),
        nodes_modes=np.where(nodes["is_leaf"], "LEAF", "BRANCH_LEQ").tolist(),
        nodes_truenodeids=nodes["left"].tolist(),
        nodes_falsenodeids=nodes["right"].tolist(),
        target_treeids=np.concatenate([np.full(kept.size, number) for number, kept in enumerate(weights)]).tolist(),
        target_nodeids=np.concatenate(
            [np.repeat(kept, len(target)) for kept, target in zip(leaves, targets, strict=True)]
        ).tolist(),
        target_ids=np.concatenate(
            [np.tile(target, len(kept)) for kept, target in zip(leaves, targets, strict=True)]
        ).tolist(),
        target_weights_as_tensor=_doubles(np.concatenate([kept.ravel() for kept in weights])),
    )
    rows = helper.make_tensor_value_info("rows", TensorProto.DOUBLE, [None, None])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, n_scores])
    model = helper.make_model(helper.make_graph([node], "trees", [rows], [scores]), opset_imports=OPSETS, ir_version=9)
    return np.frombuffer(model.SerializeToString(), dtype=np.uint8)


def _doubles(values: FloatArray) -> TensorProto:
    return numpy_helper.from_array(np.asarray(values, dtype=np.float64), "values")


def _named(kind: str, link: str) -> dict[str, Any]:
    return {"kind": np.array(kind), "link": np.array(link)}
