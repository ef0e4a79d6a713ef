"""Explanations against the definition: Shapley values by enumeration, and what must hold of any of them."""

import dataclasses
from itertools import combinations
from math import factorial
from types import SimpleNamespace

import msgspec
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

from boucle import background, cleaning, compiler, embedding, models
from boucle.artifacts import ModelVersion, PickledScorer, ServedVersion
from boucle.explanation import Explanation, explain
from boucle.models import Recipe
from boucle.scorer import Scorer, read


class Data:
    """Rows of a table, embedded, and versions fitted on them as publishing would make them."""

    def __init__(self, table):
        table = cleaning.clean(table, "target", [], [])
        target = cleaning.target_of(table["target"], "auto")
        lacking = [name for name in table if table[name].isna().any()]
        self.contract = cleaning.infer_contract(table, target, lacking, [], max_categories=100)
        self.records = cleaning.records(table.drop(columns="target"))
        self.rows = [tuple(record.values()) for record in self.records]
        self.embedding = embedding.fit("test", self.contract, self.records, "all", seed=0)
        self.labels = np.array([target.index(label) for label in cleaning.labels_of(table["target"], target)])

    def fit(self, algorithm, rows=slice(None), **parameters):
        recipe = Recipe(algorithm, parameters, 0, columns=self.embedding.columns_of_vectors())
        vectors = self.embedding.vectors(self.records)
        return models.fit(recipe, vectors[rows], self.labels[rows], self.contract.target.n_classes)

    def version(self, algorithm, rows=slice(None), **parameters):
        model = self.fit(algorithm, rows, **parameters)
        content = compiler.compile_version(self.embedding, model, self.records).content
        scorer = Scorer(self.contract, read(content)) if content else None
        sample = background.sample(self.records, seed=0)
        manifest = SimpleNamespace(version="v1", contract=self.contract, reference_rows=len(self.rows))
        scorer = scorer or PickledScorer(ModelVersion(manifest, self.embedding, model))
        return ServedVersion(manifest, self.embedding, scorer, sample)


def mixed(table, columns):
    """A few of the columns, some of whose values are missing, with a category and a boolean made of two others."""
    names = list(table.columns)
    table = table.assign(
        size=table[names[0]].rank(pct=True).map(lambda share: ["small", "middle", "big"][int(share * 2.99)]),
        high=(table[names[1]] > table[names[1]].median()).astype(object),
    )
    table.loc[table.index % 7 == 0, "size"] = None
    table.loc[table.index % 11 == 0, names[2]] = np.nan
    return table[["size", "high", *names[2 : columns + 2], "target"]]


def enumerated(version: ServedVersion, values, position) -> np.ndarray:
    """Shapley's formula as it stands: every subset of the columns, against every background row."""
    rows, width = version.background, len(values)
    worth = {}
    for size in range(width + 1):
        for subset in combinations(range(width), size):
            mixtures = [[values[j] if j in subset else row[j] for j in range(width)] for row in rows]
            worth[subset] = version.scorer.matrix(list(zip(*mixtures, strict=True)))[:, position].mean()
    found = np.zeros(width)
    for column in range(width):
        for subset, without in worth.items():
            if column not in subset:
                weight = factorial(len(subset)) * factorial(width - len(subset) - 1) / factorial(width)
                found[column] += weight * (worth[tuple(sorted((*subset, column)))] - without)
    return found


def adds_up(found: Explanation) -> bool:
    return bool(np.isclose(found.contributions.sum(), found.output - found.base, rtol=1e-9, atol=1e-9))


@pytest.fixture(scope="module")
def cancer():
    return Data(load_breast_cancer(as_frame=True).frame)


@pytest.fixture(scope="module")
def wine():
    return Data(mixed(load_wine(as_frame=True).frame, 3))


@pytest.fixture(scope="module")
def diabetes():
    return Data(mixed(load_diabetes(as_frame=True).frame, 3))


CLASSIFIERS = ["logistic_regression", "sgd", "random_forest", "hist_gradient_boosting", "mlp"]
REGRESSORS = ["ridge", "sgd", "random_forest", "hist_gradient_boosting", "mlp"]


@pytest.mark.parametrize("algorithm", CLASSIFIERS)
def test_the_contributions_to_a_class_add_up(wine, algorithm):
    version = wine.version(algorithm)
    for values in wine.rows[::40]:
        found = explain(version, values)

        assert found.prediction == wine.contract.target.decode(version.scorer.row(values))
        assert adds_up(found)


@pytest.mark.parametrize("algorithm", REGRESSORS)
def test_the_contributions_to_a_quantity_add_up_to_what_is_answered(diabetes, algorithm):
    version = diabetes.version(algorithm)
    for values in diabetes.rows[::100]:
        found = explain(version, values)

        assert found.scale == "target"
        assert found.output == pytest.approx(found.prediction, rel=1e-5)
        assert adds_up(found)


def test_a_linear_explanation_is_weight_times_distance_from_the_mean_in_the_users_own_columns(cancer):
    model, version = cancer.fit("logistic_regression"), cancer.version("logistic_regression")
    rows = np.array(cancer.rows)
    log_odds = model.estimator.decision_function(cancer.embedding.vectors(cancer.records))
    means = rows.mean(axis=0)
    # The slope in each column, measured: a step of one standard deviation from the mean.
    steps = np.vstack([means, means + np.diag(rows.std(axis=0))])
    vectors = cancer.embedding.vectors([dict(zip(cancer.contract.names, step, strict=True)) for step in steps])
    scores = model.estimator.decision_function(vectors)
    slopes = (scores[1:] - scores[0]) / rows.std(axis=0)

    for number in (0, 19, 200):
        found = explain(version, cancer.rows[number])

        sign = 1 if found.prediction == cancer.contract.target.classes[1] else -1
        assert found.method == "linear" and found.standard_error is None
        assert found.scale == f"log-odds of {found.prediction}"
        assert found.base == pytest.approx(sign * log_odds.mean())
        assert found.output == pytest.approx(sign * log_odds[number])
        assert np.allclose(found.contributions, sign * slopes * (rows[number] - means), atol=1e-6)


def test_the_log_odds_are_those_of_the_probability_that_is_answered(cancer):
    version = cancer.version("logistic_regression")
    for values in cancer.rows[::100]:
        found = explain(version, values)

        assert 1 / (1 + np.exp(-found.output)) == pytest.approx(max(version.scorer.row(values)))


@pytest.mark.parametrize("data", ["wine", "diabetes"])
def test_a_linear_explanation_is_the_shapley_value_also_of_categories_and_missing_values(request, data):
    data = request.getfixturevalue(data)
    version = data.version("ridge" if data.contract.target.n_classes is None else "logistic_regression")
    # Against the rows that it takes the means of: all of them.
    everything = dataclasses.replace(version, background_file=msgspec.json.encode(data.rows), scorer=_Scores(version))
    for number in (0, 7, 11, 170):
        found = explain(version, data.rows[number])

        everything.scorer.scale = found.scale
        assert np.allclose(found.contributions, enumerated(everything, data.rows[number], 0), atol=1e-9)


class _Scores:
    """The sums before the link, of the class that an explanation speaks of: on them the values are linear."""

    def __init__(self, version):
        self.version, self.scale = version, ""

    def matrix(self, columns):
        outputs = self.version.scorer.matrix(columns)
        if not self.scale.startswith("log-odds"):
            return outputs
        first, second = self.scale.removeprefix("log-odds of ").split(" against ")
        names = list(map(str, self.version.contract.target.classes))
        return np.log(outputs[:, [names.index(first)]] / outputs[:, [names.index(second)]])


@pytest.mark.parametrize(
    ("data", "algorithm"),
    [("wine", "random_forest"), ("wine", "mlp"), ("diabetes", "hist_gradient_boosting"), ("diabetes", "mlp")],
)
def test_sampled_contributions_are_the_enumerated_ones_within_their_standard_error(request, data, algorithm):
    data = request.getfixturevalue(data)
    version = data.version(algorithm)
    for number in (0, 7, 11, 170):
        outputs = version.scorer.row(data.rows[number])
        position = outputs.index(max(outputs)) if data.contract.target.n_classes else 0

        found = explain(version, data.rows[number])

        assert found.method == "shapley"
        assert found.background == f"{min(len(data.rows), 200)} of {len(data.rows)} reference rows"
        # Against all rows, of which the background is a sample.
        exact = enumerated(
            dataclasses.replace(version, background_file=msgspec.json.encode(data.rows)), data.rows[number], position
        )
        assert np.abs(found.contributions - exact).max() <= 3 * found.standard_error
        assert found.standard_error < 0.05 * np.ptp([version.scorer.row(values)[position] for values in data.rows])


def test_a_column_that_the_model_does_not_use_contributes_nothing(diabetes):
    version = diabetes.version("random_forest", max_depth=1, n_estimators=3)
    used = {0, 1, 2, 3, 4}
    for tree in diabetes.fit("random_forest", max_depth=1, n_estimators=3).estimator[-1].estimators_:
        used.discard(int(tree.tree_.feature[0]))

    found = explain(version, diabetes.rows[5])

    # What is encoded in front, in the order in which the scaler puts it: booleans and numbers, then the categories.
    unused = [[*range(1, 5), 0][column] for column in used if column < 4]
    assert unused and np.array_equal(found.contributions[unused], np.zeros(len(unused)))


@pytest.mark.parametrize("algorithm", ["logistic_regression", "random_forest"])
def test_a_missing_value_and_a_new_category_are_explained(wine, algorithm):
    version, usual = wine.version(algorithm), list(wine.rows[1])
    for values in ([None, *usual[1:]], ["gigantic", *usual[1:]], [*usual[:2], None, *usual[3:]]):
        assert adds_up(explain(version, tuple(values)))


@pytest.mark.parametrize("algorithm", CLASSIFIERS)
def test_the_same_question_gets_the_same_answer(cancer, algorithm):
    version = cancer.version(algorithm)

    first, second = (explain(version, cancer.rows[3]) for _ in range(2))

    assert np.array_equal(first.contributions, second.contributions)


def test_a_version_that_scikit_learn_serves_is_explained_by_sampling(cancer):
    version = cancer.version("sgd", loss="modified_huber")
    assert isinstance(version.scorer, PickledScorer)

    found = explain(version, cancer.rows[3])

    assert found.method == "shapley"
    assert adds_up(found)


def test_a_class_that_the_fit_never_saw_changes_nothing(wine):
    version = wine.version("logistic_regression", rows=wine.labels != 1)

    found = explain(version, wine.rows[0])

    assert found.scale == "log-odds of 0"
    assert adds_up(found)


@pytest.mark.parametrize("algorithm", ["ridge", "random_forest"])
def test_a_version_without_background_is_explained_and_says_against_what(diabetes, algorithm):
    version = dataclasses.replace(diabetes.version(algorithm), background_file=None)

    found = explain(version, diabetes.rows[3])

    assert adds_up(found)
    if algorithm == "random_forest":
        assert found.background.startswith("one typical row (medians, first categories)")
        (row,) = background.typical(diabetes.contract)
        assert found.base == pytest.approx(version.scorer.row(row)[0], rel=1e-5)


def test_values_as_far_away_as_the_contract_allows_are_explained(cancer):
    farthest = tuple(feature.limits[1] for feature in cancer.contract.features)
    for algorithm in CLASSIFIERS:
        found = explain(cancer.version(algorithm), farthest)

        assert np.isfinite(found.contributions).all()
        assert np.isclose(found.contributions.sum(), found.output - found.base, rtol=1e-9, atol=1e-9)


def test_a_wide_table_gets_fewer_walks_so_that_its_cost_is_bounded():
    random = np.random.default_rng(0)
    columns = {f"c{number}": random.normal(size=300) for number in range(784)}
    wide = Data(pd.DataFrame(columns | {"target": ["no", "yes"] * 150}))
    version = wide.version("random_forest", n_estimators=5)
    scorer = dataclasses.replace(version, scorer=_Counting(version.scorer))

    found = explain(scorer, wide.rows[0])

    assert found.background == "32 of 300 reference rows" and adds_up(found)
    assert scorer.scorer.cells <= 40_000_000
    assert max(scorer.scorer.chunks) <= 1_000_000


class _Counting:
    """The scorer, counting the cells that it is asked to score."""

    def __init__(self, scorer):
        self.row, self._matrix, self.chunks = scorer.row, scorer.matrix, []

    @property
    def cells(self):
        return sum(self.chunks)

    def matrix(self, columns):
        self.chunks.append(len(columns) * len(columns[0]))
        return self._matrix(columns)
