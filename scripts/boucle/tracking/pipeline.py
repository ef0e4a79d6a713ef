"""A version as one scikit-learn pipeline, made of scikit-learn's own parts: who loads it needs no Boucle.

It takes a table of raw records, columns named as in the data, and answers labels as they stand there: what
`mlflow.pyfunc` users expect. Unlike serving, it validates no range.
"""

import copy
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import ModelSignature, infer_signature
from mlflow.types import ColSpec, DataType, Schema
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder

from boucle.artifacts import ModelVersion
from boucle.contract import Boolean, Category, Contract, Feature, Number, Quantity
from boucle.encoding import UNKNOWN


def build(version: ModelVersion) -> Pipeline:
    """Raw records as a table to labels: the encoding, scaler, projector and estimator of the version."""
    encoder = _encoder(version.contract).fit(example(version.contract))
    return Pipeline(
        [
            ("encoder", encoder),
            ("scaler", version.embedding.scaler),
            ("projector", version.embedding.projector),
            ("model", _answering(version.model.estimator, version.contract)),
        ]
    )


def example(contract: Contract) -> pd.DataFrame:
    """The contract's example as a table of one row."""
    row = contract.validate_record(contract.example)
    columns = {
        feature.name: pd.Series([row[feature.name]], dtype="float64" if isinstance(feature, Number) else None)
        for feature in contract.features
    }
    return pd.DataFrame(columns)


def signature(pipeline: Pipeline, contract: Contract) -> ModelSignature:
    """Every column with its type, also where the example holds no value; the type of the answer."""
    inputs = Schema([ColSpec(_type_of(feature), feature.name) for feature in contract.features])
    row = example(contract)
    return ModelSignature(inputs, infer_signature(row, pipeline.predict(row)).outputs)


def _type_of(feature: Feature) -> DataType:
    match feature:
        case Number():
            return DataType.double
        case Boolean():
            return DataType.boolean
        case Category():
            return DataType.string


def _encoder(contract: Contract) -> ColumnTransformer:
    """As `tabular.encode`, column for column: the scaler behind it knows columns by position."""
    parts: list[tuple[str, Any, list[str]]] = []  # scikit-learn has no common type for its transformers
    for is_category, features in groupby(contract.features, key=lambda feature: isinstance(feature, Category)):
        if not is_category:
            names = [feature.name for feature in features]
            parts.append((f"from {names[0]}", FunctionTransformer(np.asarray, kw_args={"dtype": "float64"}), names))
            continue
        for feature in features:
            assert isinstance(feature, Category)  # noqa: S101  # groupby hides it from mypy
            encoder = OrdinalEncoder(
                categories=[[*feature.categories, np.nan]],
                handle_unknown="use_encoded_value",
                unknown_value=UNKNOWN,
                encoded_missing_value=len(feature.categories),
            )
            parts.append((feature.name, encoder, [feature.name]))
    return ColumnTransformer(parts)


def _answering(estimator: Any, contract: Contract) -> Any:  # nor for its estimators
    """The estimator, its classes called by their labels instead of by their positions."""
    if isinstance(contract.target, Quantity):
        return estimator
    if isinstance(estimator, Pipeline):
        *before, (name, last) = estimator.steps
        return Pipeline([*before, (name, _answering(last, contract))])
    named = copy.copy(estimator)
    named.classes_ = np.array(contract.target.classes)[estimator.classes_]
    if hasattr(named, "_label_binarizer"):  # where an MLP looks its answers up
        named._label_binarizer = copy.copy(named._label_binarizer)
        named._label_binarizer.classes_ = named.classes_
    return named
