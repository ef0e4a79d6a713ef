"""A version compiled for serving: typed values to outputs in microseconds, without scikit-learn.

`boucle.compiler` makes it, and uses it only when it agrees with the pickled version. The file holds arrays, no code.
"""

import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import mul
from typing import Any, Protocol

import msgspec
import numpy as np

from boucle.arrays import FloatArray
from boucle.contract import Cell, Contract, Record
from boucle.encoding import Columns, encode, encode_columns
from boucle.leaf_sets import LeafSets

FILE = "scorer.msgpack"
EARLIER_FILE = "scorer.npz"  # the same arrays as NumPy writes several: fifty times as slow to read
SCORES = ["scores"]  # the output of the ONNX graph
DECIMALS = 1e9  # boucle.models rounds what trees see to nine decimals

Arrays = Mapping[str, Any]  # NumPy arrays of several types, by name
NONE: Sequence[int] = ()


class Head(Protocol):
    """What stands behind the columns: linear model, network or trees."""

    def row(self, numbers: Sequence[float], hot: Sequence[int]) -> list[float]:
        """Scores of one row, before the link; see `Columns.row`."""

    def matrix(self, rows: FloatArray) -> FloatArray:
        """Scores (n_rows, n_scores) of columns (n_rows, width)."""


@dataclass(frozen=True)
class CompiledEmbedding:
    """As `boucle.embedding.Embedding`, with nothing but arrays: the same operations in the same order."""

    id: str
    contract: Contract
    arrays: Arrays

    @property
    def columns(self) -> list[str]:
        """Names of the vector's components."""
        return [str(name) for name in self.arrays["names"]]

    @cached_property
    def _columns(self) -> Columns:
        return Columns(self.contract, self.arrays["medians"])

    def vectors(self, records: Sequence[Record]) -> FloatArray:
        """Vectors of validated records, shape (n_records, n_components)."""
        arrays = self.arrays
        rows = self._columns.matrix(encode(self.contract, records))
        numbers = rows[:, : len(arrays["means"])]
        numbers -= arrays["means"]
        numbers /= arrays["scales"]
        vectors: FloatArray = rows @ arrays["components"].T
        vectors -= arrays["center"].reshape(1, -1) @ arrays["components"].T
        return vectors


class Scorer:
    """Outputs as `boucle.models.Model` gives them: probabilities by class, or the quantity."""

    def __init__(self, contract: Contract, arrays: Arrays) -> None:
        self.arrays = arrays
        self._contract = contract
        self._columns = Columns(contract, arrays["medians"])
        self._head = _HEADS[str(arrays["kind"])](arrays, self._columns)
        self._link_row, self._link_matrix = _LINKS[str(arrays["link"])]
        positions, self._width = arrays["positions"].tolist(), int(arrays["n_outputs"])
        # Classes that the fit never saw have probability 0.
        self._positions = None if positions == list(range(self._width)) else positions

    def row(self, values: Sequence[Cell]) -> list[float]:
        """Outputs of one row of typed values in the contract's order."""
        numbers: Any  # plain values are numbers or booleans, as the contract promises
        numbers, hot = (values, NONE) if self._columns.is_plain else self._columns.row(values)
        outputs = self._link_row(self._head.row(numbers, hot))
        if self._positions is None:
            return outputs
        aligned = [0.0] * self._width
        for position, output in zip(self._positions, outputs, strict=True):
            aligned[position] = output
        return aligned

    def matrix(self, columns: Iterable[Sequence[Cell]]) -> FloatArray:
        """Outputs, shape (n_rows, n_outputs), of columns of typed values in the contract's order."""
        return self.encoded(encode_columns(self._contract, columns))

    def encoded(self, rows: FloatArray) -> FloatArray:
        """The same of rows as `boucle.encoding.encode_rows` writes them."""
        outputs = self._link_matrix(self._head.matrix(self._columns.matrix(rows)))
        if self._positions is None:
            return outputs
        aligned = np.zeros((len(outputs), self._width))
        aligned[:, self._positions] = outputs
        return aligned


class Linear:
    """One weight a column: scaling, PCA and model are one affine map."""

    def __init__(self, arrays: Arrays, columns: Columns) -> None:
        self._dense = columns.dense
        self._weights: FloatArray = arrays["weights"]  # (width, n_scores)
        self._bias: FloatArray = arrays["bias"]
        self._single: list[float] | None = self._weights[:, 0].tolist() if self._weights.shape[1] == 1 else None
        self._single_bias = float(self._bias[0])

    def row(self, numbers: Sequence[float], hot: Sequence[int]) -> list[float]:
        weights = self._single
        if weights is None:
            scores: list[float] = (self._dense(numbers, hot) @ self._weights + self._bias).tolist()
            return scores
        score = self._single_bias + sum(map(mul, numbers, weights))
        for position in hot:
            score += weights[position]
        return [score]

    def matrix(self, rows: FloatArray) -> FloatArray:
        return np.asarray(rows @ self._weights + self._bias)


class Network:
    """A multi-layer perceptron whose first layer has taken in scaling and PCA."""

    def __init__(self, arrays: Arrays, columns: Columns) -> None:
        self._dense = columns.dense
        layers = int(arrays["n_layers"])
        self._layers = [(arrays[f"weights_{number}"], arrays[f"bias_{number}"]) for number in range(layers)]
        self._activate = _ACTIVATIONS[str(arrays["activation"])]
        self._steps = self._with_floors() if str(arrays["activation"]) == "relu" else []

    def _with_floors(self) -> list[tuple[FloatArray, FloatArray]]:
        """Weights and floor of each layer: as max(x + b, 0) = max(x, -b) + b, biases can wait until the end."""
        steps, bias = [], np.zeros(len(self._layers[0][0]))
        for weights, added in self._layers:
            bias = bias @ weights + added
            steps.append((weights, -bias))
        return steps

    def row(self, numbers: Sequence[float], hot: Sequence[int]) -> list[float]:
        row = self._dense(numbers, hot)
        scores: list[float] = (self._in_few_calls(row) if self._steps else self.matrix(row)).tolist()
        return scores

    def _in_few_calls(self, row: FloatArray) -> FloatArray:
        """The same: of one row NumPy's calls cost more than their arithmetic."""
        *hidden, (weights, floor) = self._steps
        for first, lowest in hidden:
            row = np.maximum(row.dot(first), lowest)
        return np.asarray(row.dot(weights) - floor)

    def matrix(self, rows: FloatArray) -> FloatArray:
        for weights, bias in self._layers[:-1]:
            rows = self._activate(rows @ weights + bias)
        weights, bias = self._layers[-1]
        return np.asarray(rows @ weights + bias)


class Trees:
    """An ensemble of trees in ONNX Runtime, which compares in double precision as scikit-learn does.

    One row of a small one is found in its leaf sets, at a fraction of what it costs to call ONNX Runtime.
    """

    def __init__(self, arrays: Arrays, columns: Columns) -> None:
        # Only here: it costs 40 MB, and linear models and networks do without.
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(arrays["onnx"].tobytes(), options, providers=["CPUExecutionProvider"])
        self._run = session.run
        self._dense = columns.dense
        self._arrays = arrays
        self._base, self._divisor = arrays["base"], float(arrays["divisor"])
        self._base_list: list[float] = self._base.tolist()
        self._rotation: FloatArray | None = arrays.get("rotation")
        self._row_sums = LeafSets(arrays).sums if "leaf_sets" in arrays else None

    def row(self, numbers: Sequence[float], hot: Sequence[int]) -> list[float]:
        row = self._dense(numbers, hot)
        if self._row_sums is None:
            sums = self._sums(row.reshape(1, -1))[0].tolist()
        else:
            sums = self._row_sums((row if self._rotation is None else row.dot(self._rotation)).tolist())
        return [total / self._divisor + base for total, base in zip(sums, self._base_list, strict=True)]

    def matrix(self, rows: FloatArray) -> FloatArray:
        return np.asarray(self._sums(rows).astype(np.float64) / self._divisor + self._base)

    def _sums(self, rows: FloatArray) -> Any:  # single precision: ONNX knows no other for them
        return self._run(SCORES, {"rows": rows if self._rotation is None else self._rotated(rows, self._rotation)})[0]

    def _rotated(self, rows: FloatArray, rotation: FloatArray) -> FloatArray:
        """What trees on a few components see; on all of them nothing is rotated."""
        if "offset" not in self._arrays:
            return np.asarray(rows @ rotation)
        # A version that was compiled when offset and rounding did not go into the thresholds.
        seen = np.rint((rows @ rotation + self._arrays["offset"]) * DECIMALS) / DECIMALS
        return np.asarray(seen.astype(np.float32).astype(np.float64) if self._arrays["is_single"] else seen)


_HEADS: dict[str, Callable[[Arrays, Columns], Head]] = {"linear": Linear, "network": Network, "trees": Trees}


def _sigmoid(score: float) -> float:
    return 1 / (1 + math.exp(-score)) if score > -700 else 0.0


def _sigmoids(scores: FloatArray) -> FloatArray:
    return np.asarray(1 / (1 + np.exp(-np.clip(scores, -700, None))))


def _two_classes_row(scores: list[float]) -> list[float]:
    score = scores[0]
    second = 1 / (1 + math.exp(-score)) if score > -700 else 0.0
    return [1 - second, second]


def _two_classes(scores: FloatArray) -> FloatArray:
    second = _sigmoids(scores)
    return np.hstack([1 - second, second])


def _softmax_row(scores: list[float]) -> list[float]:
    highest = max(scores)
    powers = [math.exp(score - highest) for score in scores]
    total = sum(powers)
    return [power / total for power in powers]


def _softmax(scores: FloatArray) -> FloatArray:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _one_against_rest_row(scores: list[float]) -> list[float]:
    chances = [_sigmoid(score) for score in scores]
    total = sum(chances)
    return [chance / total for chance in chances] if total else [1 / len(chances)] * len(chances)


def _one_against_rest(scores: FloatArray) -> FloatArray:
    chances = _sigmoids(scores)
    total = chances.sum(axis=1, keepdims=True)
    return np.asarray(np.where(total == 0, 1 / chances.shape[1], chances / np.where(total == 0, 1, total)))


_Link = tuple[Callable[[list[float]], list[float]], Callable[[FloatArray], FloatArray]]
_LINKS: dict[str, _Link] = {
    "identity": (lambda scores: scores, lambda scores: scores),
    "two classes": (_two_classes_row, _two_classes),
    "softmax": (_softmax_row, _softmax),
    "one against rest": (_one_against_rest_row, _one_against_rest),
}
_ACTIVATIONS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "identity": lambda rows: rows,
    "relu": lambda rows: np.maximum(rows, 0),
    "tanh": np.tanh,
    "logistic": _sigmoids,
}


class _Stored(msgspec.Struct, array_like=True):
    """One array in the file; the type as NumPy spells it."""

    dtype: str
    shape: tuple[int, ...]
    content: bytes


_decode = msgspec.msgpack.Decoder(dict[str, _Stored]).decode


def dump(arrays: Arrays) -> bytes:
    """The content of `FILE`."""
    each = ((name, np.asarray(array)) for name, array in arrays.items())
    return msgspec.msgpack.encode({name: _Stored(one.dtype.str, one.shape, one.tobytes()) for name, one in each})


def read(content: bytes) -> dict[str, Any]:
    """The arrays in the content of `FILE`, or of `EARLIER_FILE`; nothing in it is executed."""
    if content.startswith(b"PK"):  # as a zip does
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return dict(arrays)
    return {name: np.frombuffer(one.content, one.dtype).reshape(one.shape) for name, one in _decode(content).items()}
