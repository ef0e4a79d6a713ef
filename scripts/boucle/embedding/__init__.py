"""A raw datum to a vector: one module per modality, and the fitted pair that every version carries."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from boucle.arrays import FloatArray
from boucle.contract import Contract, Record
from boucle.embedding import tabular


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
    def columns(self) -> list[str]:
        """Names of the vector's components, as `ref_data.csv` heads them."""
        return [f"{tabular.PREFIX}{number + 1}" for number in range(self.projector.n_components_)]

    def vectors(self, records: Sequence[Record]) -> FloatArray:
        """Vectors of validated records, shape (n_records, n_components)."""
        encoded = tabular.encode(self.contract, records)
        vectors: FloatArray = self.projector.transform(self.scaler.transform(encoded))
        return vectors


def fit(embedding_id: str, contract: Contract, records: Sequence[Record], components: float, seed: int) -> Embedding:
    """The embedding fitted on ``records``; nothing else may be predicted as if it were unseen."""
    scaler, projector = tabular.fit(contract, records, components, seed)
    return Embedding(embedding_id, contract, scaler, projector)
