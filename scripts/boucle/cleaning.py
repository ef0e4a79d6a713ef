"""Raw columns to typed ones, and the contract that the rows fulfil."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from boucle.contract import Boolean, Category, Contract, Label, Number, Target
from boucle.errors import InvalidSource

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL")
TRUTHS = {"true": True, "false": False}
MOST_CLASSES = 100
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
    labels = [_label(value, target) for value in table[target]]
    return table.assign(**{target: pd.Series(labels, dtype=object)})


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


def classes_of(column: pd.Series) -> tuple[Label, ...]:
    """The distinct labels, sorted.

    Raises:
        InvalidSource: when there is only one class, or so many that the target must be a quantity or an identifier.
    """
    target, labels = column.name, set(column)
    kinds = {type(label) for label in labels}
    classes = sorted(labels, key=str if len(kinds) > 1 else None)
    if len(classes) < 2:
        raise InvalidSource(f"the target {target} has one single value, {classes[0]!r}: there is nothing to learn")
    if len(classes) > MOST_CLASSES:
        raise InvalidSource(
            f"the target {target} has {len(classes)} different values: Boucle predicts classes, {MOST_CLASSES} at "
            f"most; make classes of it with data.query"
        )
    return tuple(classes)


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


def _label(value: object, target: str) -> Label:
    if isinstance(value, float):
        if value % 1:
            raise InvalidSource(
                f"the target {target} holds {value:g}, a quantity: Boucle predicts classes; make classes of it with "
                f"data.query, such as: {target} > {value:g} AS above"
            )
        return int(value)
    if isinstance(value, bool | str):
        return value
    return str(value)


def _plain(value: object) -> Any:  # a value of JSON
    if isinstance(value, float | np.floating):
        return None if np.isnan(value) else float(value)
    return value
