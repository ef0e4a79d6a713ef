"""Raw columns to typed ones, and the contract that the rows fulfil."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from boucle.contract import Boolean, Category, Classes, Contract, Label, Number, Quantity, Target
from boucle.errors import InvalidSource

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL")
TRUTHS = {"true": True, "false": False}
MOST_CLASSES = 100
MOST_INTEGER_CLASSES = 20
# Texts of which more than half are unique identify rows; in a table of a handful of rows nothing can be said.
MOST_DISTINCT_SHARE, FEW = 0.5, 20


def clean(raw: pd.DataFrame, target: str, drop: Sequence[str], missing_values: Sequence[str]) -> pd.DataFrame:
    """The table with typed columns: float64, bool or text, ``None``/NaN where a value is missing.

    Columns named in ``drop`` and rows without a target are left out. A text column whose every value is a number
    becomes numeric, since one blank cell is enough to make a CSV column look like text.

    Raises:
        InvalidSource: when a named column is not there, or no row has a target.
    """
    unknown = [name for name in (target, *drop) if name not in raw.columns]
    if unknown:
        raise InvalidSource(f"no column {', '.join(unknown)} in the source; its columns are {', '.join(raw.columns)}")
    missing = {*MISSING, *missing_values}
    table = pd.DataFrame({name: _typed(raw[name], missing) for name in raw.columns if name not in drop})
    table = table[table[target].notna()].reset_index(drop=True)
    if table.empty:
        raise InvalidSource(f"no row of the source has a value in the target column {target}")
    return table


def infer_contract(
    table: pd.DataFrame, target: Target, nullable: Sequence[str], missing_values: Sequence[str], max_categories: int
) -> Contract:
    """The contract that the rows of ``table``, a result of `clean`, fulfil; ``nullable`` columns may lack values.

    Raises:
        InvalidSource: naming every column that cannot be a feature, and what to do about it.
    """
    features, problems = [], []
    for name in table.columns.drop(target.name):
        try:
            features.append(_feature(table[name], name in nullable, max_categories))
        except InvalidSource as problem:
            problems.append(str(problem))
    if problems:
        raise InvalidSource("\n".join(problems))
    if not features:
        raise InvalidSource("the source has no column beside the target")
    middle = len(table) // 2
    return Contract(
        features=tuple(features),
        target=target,
        example=records(table.drop(columns=target.name).iloc[middle : middle + 1])[0],
        missing_values=(*MISSING, *missing_values),
    )


def target_of(column: pd.Series, task: str) -> Target:
    """What the column says is predicted: classes, or a quantity. ``task`` is "auto" unless the user decided.

    Numbers are a quantity when they have fractions or more than `MOST_INTEGER_CLASSES` different values.

    Raises:
        InvalidSource: when there is one single value, too many texts for classes, or no numbers for a quantity.
    """
    name, values = str(column.name), set(column)
    numeric = pd.api.types.is_float_dtype(column)
    many = numeric and (len(values) > MOST_INTEGER_CLASSES or any(value % 1 for value in values))
    if len(values) < 2:
        only = next(iter(values))
        raise InvalidSource(f"the target {name} has one single value, {_label(only)!r}: there is nothing to learn")
    if task == "regression" and not numeric:
        raise InvalidSource(f"data.task is regression, but the target {name} holds no numbers: {next(iter(values))!r}")
    if task == "regression" or (task == "auto" and many):
        return Quantity(
            name=name,
            integer=not any(value % 1 for value in values),
            minimum=float(column.min()),
            maximum=float(column.max()),
            median=float(column.median()),
        )
    return Classes(name=name, classes=_classes(name, values))


def labels_of(column: pd.Series, target: Target) -> list[Label]:
    """The column's values as the target's own."""
    return [target.normal(value if isinstance(target, Quantity) else _label(value)) for value in column]


def _classes(name: str, values: set[Any]) -> tuple[Label, ...]:
    if len(values) > MOST_CLASSES:
        raise InvalidSource(
            f"the target {name} has {len(values)} different values, {MOST_CLASSES} classes at most are predicted: "
            f"make classes of it with data.query, or predict a number: data.task = 'regression'"
        )
    labels = {_label(value) for value in values}
    kinds = {type(label) for label in labels}
    return tuple(sorted(labels, key=str if len(kinds) > 1 else None))


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as plain Python values, ``None`` where a value is missing: what a JSON parser would return."""
    columns = {name: [_plain(value) for value in table[name]] for name in table.columns}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _typed(column: pd.Series, missing: set[str]) -> pd.Series:
    if pd.api.types.is_bool_dtype(column):
        return column.astype(object)
    if pd.api.types.is_numeric_dtype(column):
        return column.astype(float).replace([np.inf, -np.inf], np.nan)
    if not (pd.api.types.is_object_dtype(column) or pd.api.types.is_string_dtype(column)):
        return column
    values = [None if pd.isna(value) else value for value in column]
    if any(isinstance(value, bool) for value in values):
        return pd.Series(values, dtype=object)
    texts = [None if value is None or str(value).strip() in missing else str(value).strip() for value in values]
    if {text.lower() for text in texts if text} <= TRUTHS.keys():
        return pd.Series([None if text is None else TRUTHS[text.lower()] for text in texts], dtype=object)
    try:
        numbers = [np.nan if text is None else float(text) for text in texts]
        return pd.Series(numbers, dtype=float).replace([np.inf, -np.inf], np.nan)
    except ValueError:
        return pd.Series(texts, dtype=object)


def _feature(column: pd.Series, nullable: bool, max_categories: int) -> Number | Boolean | Category:
    name, present = str(column.name), column.dropna()
    if present.empty:
        raise InvalidSource(f"column {name} is empty: add it to data.drop")
    if pd.api.types.is_float_dtype(column):
        return Number(
            name=name,
            nullable=nullable,
            integer=bool((present % 1 == 0).all()),
            minimum=float(present.min()),
            maximum=float(present.max()),
            median=float(present.median()),
        )
    if isinstance(present.iloc[0], bool):
        return Boolean(name=name, nullable=nullable)
    if not isinstance(present.iloc[0], str):
        raise InvalidSource(
            f"column {name} holds dates or other values ({present.iloc[0]}): add it to data.drop, or make numbers of "
            f"it with data.query"
        )
    categories = sorted(set(present))
    if len(categories) > max_categories or len(categories) > max(len(present) * MOST_DISTINCT_SHARE, FEW):
        raise InvalidSource(
            f"column {name} holds {len(categories)} different texts, such as {categories[0]!r}: add it to data.drop if "
            f"it identifies rows, or raise data.max_categories"
        )
    return Category(name=name, nullable=nullable, categories=tuple(categories))


def _label(value: object) -> Label:
    if isinstance(value, float):
        return value if value % 1 else int(value)
    return value if isinstance(value, bool | str) else str(value)


def _plain(value: object) -> Any:  # a value of JSON
    if isinstance(value, float | np.floating):
        return None if np.isnan(value) else float(value)
    return value
