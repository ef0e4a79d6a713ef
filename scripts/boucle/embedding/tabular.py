"""Rows of numbers, booleans and categories: impute, encode, scale, then PCA."""

from collections.abc import Sequence

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from boucle.contract import Category, Contract, Record
from boucle.encoding import encode
from boucle.errors import NotEnoughData

PREFIX = "PCA_"


def fit(
    contract: Contract, records: Sequence[Record], components: float | str, seed: int
) -> tuple[ColumnTransformer, PCA]:
    """Scaler and PCA fitted on the records; ``components`` is "all", a number of them, or a share of the variance.

    Raises:
        NotEnoughData: when more components are asked for than rows or encoded columns allow.
    """
    # One BLAS thread: the order of its sums, and so the last bits of ref_data.csv, must not depend on the load.
    with threadpool_limits(limits=1):
        scaler = _scaler(contract)
        scaled = scaler.fit_transform(encode(contract, records))
        return scaler, PCA(_number(components, scaled.shape), svd_solver="full", random_state=seed).fit(scaled)


def inverse(projector: PCA) -> PCA:
    """The projector whose ``transform`` undoes the other's: orthonormal components are inverted by transposing them."""
    back = PCA(len(projector.mean_))
    back.components_ = projector.components_.T
    back.mean_ = -projector.mean_ @ projector.components_.T
    back.n_components_, back.n_features_in_ = projector.components_.T.shape
    return back


def _number(components: float | str, shape: tuple[int, int]) -> float | int:
    most = min(shape)
    if isinstance(components, str):
        return most
    if components > most:
        raise NotEnoughData(
            f"embedding.components = {components:g}: at most {most} can be had from {shape[0]} rows with {shape[1]} "
            f"encoded columns"
        )
    return int(components) if components >= 1 else float(components)


def _scaler(contract: Contract) -> ColumnTransformer:
    categories = [position for position, feature in enumerate(contract.features) if isinstance(feature, Category)]
    numbers = [position for position in range(len(contract.features)) if position not in categories]
    # Every known position has its column, and so has "missing"; a new category is a row of zeros.
    one_hot = OneHotEncoder(
        categories=[
            np.arange(len(feature.categories) + 1, dtype=float)
            for feature in contract.features
            if isinstance(feature, Category)
        ],
        handle_unknown="ignore",
        sparse_output=False,
    )
    imputer = SimpleImputer(strategy="median", keep_empty_features=True)
    return ColumnTransformer(
        [("numbers", make_pipeline(imputer, StandardScaler()), numbers), ("categories", one_hot, categories)]
    )
