"""Labelled rows with the answers of a model that has not learnt them, and the places where their world changes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from boucle.arrays import FloatArray, IndexArray
from boucle.drift import Row, Value

TELCO, BANK, BIKE = "telco_churn.csv.gz", "bank_marketing_drift.csv.gz", "bike_hourly_drift_regression.csv.gz"
# Rows of bank marketing: the calm before October 2008, and from March 2009 on.
CALM, CRISIS = slice(0, 23_996), slice(27_689, None)
SUMMER = (6, 7, 8)
Change = Callable[[pd.DataFrame], pd.DataFrame]


@dataclass(frozen=True)
class Rows:
    """Rows as a person reads them and as numbers, their targets, and a model's predictions and errors."""

    records: list[Row]
    matrix: FloatArray
    targets: list[Value]
    predictions: list[Value]
    errors: FloatArray

    def take(self, positions: IndexArray) -> "Rows":
        """The rows at the positions, in their order."""
        records, targets, predictions = (
            [values[position] for position in positions] for values in (self.records, self.targets, self.predictions)
        )
        return Rows(records, self.matrix[positions], targets, predictions, self.errors[positions])


@dataclass(frozen=True)
class Scenario:
    """A world, and what became of it: rows drawn from ``before``, then from ``after``."""

    name: str
    rows: Rows
    before: IndexArray
    after: IndexArray

    def draw(self, positions: IndexArray, size: int, random: np.random.Generator) -> IndexArray:
        """Rows of one population; each at most once, if there are enough of them."""
        return random.choice(positions, size, replace=len(positions) < size)


def calm(folder: Path | None) -> list[Scenario]:
    """Worlds in which nothing happens."""
    # A third of the columns: all thirty would take an hour.
    scenarios = [_scenario("breast cancer, ten columns", _cancer().filter(regex="^(mean|diagnosis)"), "diagnosis")]
    if folder:
        scenarios.append(_scenario("telco churn", _telco(folder), "Churn"))
    return scenarios


def changing(folder: Path | None) -> Iterator[Scenario]:
    """Worlds that change: two in which the change really happened, the others with one put in."""
    cancer = _cancer()
    yield _scenario("breast cancer: one column + 0.5 deviations", cancer, "diagnosis", _shifted)
    yield _scenario("breast cancer: one column shuffled", cancer, "diagnosis", _shuffled)
    if folder is None:
        return
    yield _scenario("telco churn: charges + 20 %", _telco(folder), "Churn", _dearer)
    yield _scenario("telco churn: others leave", _telco(folder), "Churn", _others_leave)
    bank = pd.read_csv(folder / BANK, sep=";").drop(columns="duration")
    yield _scenario("bank marketing: 2008, then 2009", bank[CALM], "y", lambda _: bank[CRISIS])
    bike = pd.read_csv(folder / BIKE)
    summer = bike[bike.month.isin(SUMMER)].drop(columns=["date", "casual", "registered"])
    years = [summer[summer.year == year].drop(columns="year") for year in (0, 1)]
    yield _scenario("bike rental: summer 2011, then 2012", years[0], "count", lambda _: years[1])


def _cancer() -> pd.DataFrame:
    bunch = load_breast_cancer(as_frame=True)
    return bunch.data.assign(diagnosis=np.array(bunch.target_names)[bunch.target])


def _telco(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / TELCO, na_values=[" "]).drop(columns="customerID")


def _shifted(table: pd.DataFrame) -> pd.DataFrame:
    column = table["mean texture"]
    return table.assign(**{"mean texture": column + 0.5 * column.std()})


def _shuffled(table: pd.DataFrame) -> pd.DataFrame:
    """Every column stays as it was; only its companions are lost."""
    return table.assign(**{"mean radius": np.random.default_rng(0).permutation(table["mean radius"])})


def _dearer(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(MonthlyCharges=table.MonthlyCharges * 1.2)


def _others_leave(table: pd.DataFrame) -> pd.DataFrame:
    """The customers look the same, and behave otherwise: of those with monthly contracts leaves who stayed."""
    swapped = table.Contract == "Month-to-month"
    return table.assign(Churn=table.Churn.where(~swapped, table.Churn.map({"Yes": "No", "No": "Yes"})))


def _scenario(name: str, world: pd.DataFrame, target: str, change: Change | None = None) -> Scenario:
    """The ``change`` makes later rows of earlier ones: altered, or others in their place."""
    positions = np.random.default_rng(0).permutation(len(world))
    # What the model learnt does not come back, not even altered.
    learnt, before = positions[: len(world) // 3], positions[len(world) // 3 :]
    later = change(world.iloc[np.sort(before)]) if change else world[:0]
    after = np.arange(len(world), len(world) + len(later))
    return Scenario(name, _answered(pd.concat([world, later]), target, learnt), before, after)


def _answered(table: pd.DataFrame, target: str, learnt: IndexArray) -> Rows:
    features, truth = table.drop(columns=target), table[target].to_numpy()
    matrix = np.stack([_encoded(features[name]) for name in features], axis=1)
    is_quantity = pd.api.types.is_numeric_dtype(truth)
    model = (HistGradientBoostingRegressor if is_quantity else HistGradientBoostingClassifier)(random_state=0)
    predicted = model.fit(matrix[learnt], truth[learnt]).predict(matrix)
    errors = np.abs(predicted - truth) if is_quantity else (predicted != truth).astype(np.float64)
    records = [{name: _value(cell) for name, cell in row.items()} for row in features.to_dict("records")]
    return Rows(records, matrix, _values(truth), _values(predicted), errors)


def _encoded(column: pd.Series) -> FloatArray:
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=np.float64)
    return pd.factorize(column, sort=True)[0].astype(np.float64)


def _values(cells: Sequence[object]) -> list[Value]:
    return [_value(cell) for cell in cells]


def _value(cell: object) -> Value:
    if isinstance(cell, str):
        return cell
    number = float(cell)  # type: ignore[arg-type]
    return None if np.isnan(number) else number
