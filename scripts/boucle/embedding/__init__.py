"""A raw datum to a vector: one module per modality, and the fitted pair that every version carries."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sklearn.decomposition import PCA

from boucle.arrays import FloatArray
from boucle.contract import Classes, Contract, Record
from boucle.embedding import tabular
from boucle.encoding import encode


@dataclass(frozen=True)
class Embedding:
    """A contract with the scaler and projector fitted on its reference rows.

    ``id`` names the fit: vectors of two embeddings with different ids must never stand in one table.
    """

    id: str
    contract: Contract
    scaler: Any  # scikit-learn has no common type for its transformers
    projector: Any

    @property
    def fit_id(self) -> str:
        """Names scaler and projector alone: equal fits give equal vectors, whatever classes the target has."""
        return self.id.split("+")[0]

    @property
    def columns(self) -> list[str]:
        """Names of the vector's components, as `ref_data.csv` heads them."""
        return [f"{tabular.PREFIX}{number + 1}" for number in range(self.projector.n_components_)]

    def columns_of_vectors(self) -> PCA:
        """The way back: a transformer from vectors (n_rows, n_components) to scaled columns; exact if all were kept."""
        return tabular.inverse(self.projector)

    def predicting(self, target: Classes) -> "Embedding":
        """The same where the target has more classes; it gets a name of its own."""
        digest = hashlib.sha256(repr(target.classes).encode()).hexdigest()[:8]
        contract = self.contract.model_copy(update={"target": target})
        return replace(self, id=f"{self.fit_id}+{digest}", contract=contract)

    def vectors(self, records: Sequence[Record]) -> FloatArray:
        """Vectors of validated records, shape (n_records, n_components)."""
        return self.vectors_of(encode(self.contract, records))

    def vectors_of(self, encoded: FloatArray) -> FloatArray:
        """The same of rows as `boucle.encoding.encode_rows` writes them."""
        vectors: FloatArray = self.projector.transform(self.scaler.transform(encoded))
        return vectors


def fit(
    embedding_id: str, contract: Contract, records: Sequence[Record], components: float | str, seed: int
) -> Embedding:
    """The embedding fitted on ``records``; nothing else may be predicted as if it were unseen."""
    scaler, projector = tabular.fit(contract, records, components, seed)
    return Embedding(embedding_id, contract, scaler, projector)
