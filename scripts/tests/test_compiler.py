"""Compiled scorers against scikit-learn, on real data."""

import dataclasses
import io
import json
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

from boucle import cleaning, compiler, embedding, models
from boucle.artifacts import PickledScorer
from boucle.errors import CorruptArtifact
from boucle.models import CLASSIFIERS, FINE_TUNABLE, REGRESSORS, Recipe
from boucle.scorer import EARLIER_FILE, FILE, CompiledEmbedding, Scorer, dump, read


class Data:
    """Rows of one of scikit-learn's tables, embedded."""

    def __init__(self, table, components="all"):
        table = cleaning.clean(table, "target", [], [])
        target = cleaning.target_of(table["target"], "auto")
        lacking = [name for name in table if table[name].isna().any()]
        contract = cleaning.infer_contract(table, target, lacking, [], max_categories=100)
        labels = cleaning.labels_of(table["target"], target)
        self.records = cleaning.records(table.drop(columns="target"))
        self.embedding = embedding.fit("test", contract, self.records, components, seed=0)
        self.vectors = self.embedding.vectors(self.records)
        self.labels = np.array([target.index(label) for label in labels])

    @property
    def contract(self):
        return self.embedding.contract

    def fit(self, algorithm, rows=slice(None), **parameters):
        recipe = Recipe(algorithm, parameters, 0, columns=self.embedding.columns_of_vectors())
        return models.fit(recipe, self.vectors[rows], self.labels[rows], self.contract.target.n_classes)

    def compile(self, model):
        return compiler.compile_version(self.embedding, model, self.records)

    def scorer(self, model):
        return Scorer(self.contract, read(self.compile(model).content))


def mixed(table):
    """The table with a category, a boolean and missing values, all made of its own columns."""
    names = list(table.columns)
    table = table.assign(
        size=table[names[0]].rank(pct=True).map(lambda share: ["small", "middle", "big"][int(share * 2.99)]),
        high=(table[names[1]] > table[names[1]].median()).astype(object),
    )
    table.loc[table.index % 7 == 0, "size"] = None
    table.loc[table.index % 11 == 0, names[2]] = np.nan
    return table


@pytest.fixture(scope="module")
def cancer():
    return Data(load_breast_cancer(as_frame=True).frame)


@pytest.fixture(scope="module")
def wine():
    return Data(mixed(load_wine(as_frame=True).frame))


@pytest.fixture(scope="module")
def diabetes():
    return Data(mixed(load_diabetes(as_frame=True).frame))


@pytest.mark.parametrize("name", ["cancer", "wine"])
@pytest.mark.parametrize("algorithm", CLASSIFIERS)
def test_every_classifier_is_compiled_and_agrees_on_every_row(request, name, algorithm):
    data = request.getfixturevalue(name)
    model = data.fit(algorithm, rows=slice(None, None, 2))  # half of the rows are new to it

    compilation = data.compile(model)

    assert compilation.content is not None, compilation.verdict
    assert f"0 other labels in {len(data.records)} reference rows" in compilation.verdict
    # Asked again, without the compiler's own comparison.
    outputs = Scorer(data.contract, read(compilation.content)).matrix(zip(*map(dict.values, data.records), strict=True))
    truth = model.outputs(data.vectors)
    assert np.abs(outputs - truth).max() < 1e-5
    assert (outputs.argmax(axis=1) == truth.argmax(axis=1)).all()


@pytest.mark.parametrize("algorithm", REGRESSORS)
def test_every_regressor_is_compiled_and_agrees_on_every_row(diabetes, algorithm):
    model = diabetes.fit(algorithm, rows=slice(None, None, 2))

    scorer = diabetes.scorer(model)

    outputs = [scorer.row(tuple(record.values()))[0] for record in diabetes.records]
    assert np.abs(outputs - model.outputs(diabetes.vectors)[:, 0]).max() < 1e-5 * np.ptp(diabetes.labels)


@pytest.mark.parametrize("algorithm", FINE_TUNABLE)
def test_a_fine_tuned_model_is_compiled(wine, algorithm):
    model = models.fine_tune(
        wine.fit(algorithm, slice(0, None, 2)), Recipe(algorithm, {}, 0), wine.vectors, wine.labels
    )

    assert wine.compile(model).content is not None


@pytest.mark.parametrize("algorithm", ["logistic_regression", "random_forest", "hist_gradient_boosting", "mlp"])
def test_a_few_components_are_enough(algorithm):
    data = Data(mixed(load_wine(as_frame=True).frame), components=4)

    assert data.compile(data.fit(algorithm)).content is not None


def test_trees_that_were_compiled_before_there_were_leaf_sets_are_served():
    data = Data(load_wine(as_frame=True).frame, components=4)
    arrays = read(data.compile(data.fit("random_forest")).content)
    now = Scorer(data.contract, arrays)

    older = {name: array for name, array in arrays.items() if not name.startswith("leaf_")}
    older |= {"offset": np.zeros(arrays["rotation"].shape[1]), "is_single": np.array(False)}
    then = Scorer(data.contract, older)

    assert len(arrays) > len(older)
    for record in data.records:
        row = tuple(record.values())
        assert then.row(row) == pytest.approx(now.row(row), abs=1e-5)


def test_rows_on_the_very_thresholds_of_a_forest_go_where_scikit_learn_sends_them(cancer):
    # In single precision many a threshold equals the value beside it: then these rows would change sides.
    model = cancer.fit("random_forest")
    scaler = cancer.embedding.scaler.named_transformers_["numbers"][1]
    names, rows = cancer.contract.names, []
    for tree in model.estimator[-1].estimators_[:20]:
        for feature, threshold in zip(tree.tree_.feature, tree.tree_.threshold, strict=True):
            if feature >= 0:
                value = float(threshold * scaler.scale_[feature] + scaler.mean_[feature])
                rows.append(cancer.records[len(rows) % 569] | {names[feature]: value})
    truth = model.outputs(cancer.embedding.vectors(rows))

    scorer = cancer.scorer(model)
    outputs = scorer.matrix([[row[name] for row in rows] for name in names])
    alone = [scorer.row([row[name] for name in names]) for row in rows]

    assert len(rows) > 200
    assert np.abs(outputs - truth).max() < 1e-5
    assert np.abs(alone - truth).max() < 1e-5


def test_a_new_category_and_missing_values_are_scored_as_scikit_learn_does(wine):
    usual = wine.records[1]
    rows = [usual | {"size": "gigantic"}, usual | {"size": None}, usual | {wine.contract.names[2]: None}]
    for algorithm in CLASSIFIERS:
        model = wine.fit(algorithm)
        scorer = wine.scorer(model)

        truth = model.outputs(wine.embedding.vectors(rows))

        assert np.allclose([scorer.row(tuple(row.values())) for row in rows], truth, atol=1e-5)


def test_a_class_that_the_fit_never_saw_has_probability_0(wine):
    known = wine.labels != 1
    model = wine.fit("logistic_regression", rows=known).widened(3)

    outputs = wine.scorer(model).matrix(zip(*map(dict.values, wine.records), strict=True))

    assert (outputs[:, 1] == 0).all()
    assert np.allclose(outputs, model.outputs(wine.vectors), atol=1e-5)


def test_the_compiled_embedding_gives_the_very_vectors(wine):
    arrays = compiler.embedding_arrays(wine.embedding)

    compiled = CompiledEmbedding("test", wine.contract, arrays)

    assert compiled.columns == wine.embedding.columns
    assert np.array_equal(compiled.vectors(wine.records), wine.vectors)


@pytest.mark.parametrize(
    ("name", "algorithm", "parameters", "said"),
    [
        (
            "cancer",
            "sgd",
            {"loss": "modified_huber"},
            "the probabilities of loss='modified_huber' have no compiled form",
        ),
        ("diabetes", "hist_gradient_boosting", {"loss": "poisson"}, "the link of loss='poisson' has no compiled form"),
    ],
)
def test_what_has_no_compiled_form_is_left_to_scikit_learn(request, name, algorithm, parameters, said):
    data = request.getfixturevalue(name)

    compilation = data.compile(data.fit(algorithm, **parameters))

    assert (compilation.content, compilation.kind, compilation.verdict) == (None, "scikit-learn", said)


def test_a_scorer_that_disagrees_is_not_used(cancer):
    model = cancer.fit("logistic_regression")
    # An embedding that is not the one of the model's records.
    shifted = dataclasses.replace(cancer.embedding, scaler=_Shifted(cancer.embedding.scaler))

    compilation = compiler.compile_version(shifted, model, cancer.records)

    assert compilation.content is None
    assert compilation.verdict.startswith("the compiled scorer does not agree: ")


class _Shifted:
    """A scaler whose attributes do not tell what it does."""

    def __init__(self, scaler):
        self._scaler = scaler
        self.named_transformers_ = scaler.named_transformers_

    def transform(self, rows):
        return self._scaler.transform(rows) + 0.5


def test_what_is_not_a_number_is_no_agreement(cancer, diabetes):
    for data, algorithm in ((cancer, "logistic_regression"), (diabetes, "ridge")):
        model = data.fit(algorithm)
        model.estimator[-1].intercept_ = model.estimator[-1].intercept_ * np.nan

        compilation = data.compile(model)

        assert compilation.content is None
        assert compilation.verdict.endswith("largest difference nan")


def test_a_scorer_of_another_version_of_boucle_is_refused_by_name(home):
    manifest = home.artifacts.manifest("v1")
    contents = {name: (home.artifacts.root / "v1" / name).read_bytes() for name in manifest.files}
    arrays = read(contents[FILE])
    del arrays["link"]
    for content in (dump(arrays), b"PK no zip", b"no arrays", dump(read(contents[FILE]))[:-9]):
        odd = home.artifacts.publish(manifest, contents | {FILE: content}).version

        with pytest.raises(CorruptArtifact, match="is no scorer of this version of Boucle"):
            home.artifacts.promote(odd, "v1", "test", "test")


def test_a_version_whose_arrays_are_a_file_of_numpy_is_served_as_before(home):
    manifest = home.artifacts.manifest("v1")
    contents = {name: (home.artifacts.root / "v1" / name).read_bytes() for name in manifest.files}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **read(contents.pop(FILE)))
    earlier = home.artifacts.publish(manifest, contents | {EARLIER_FILE: buffer.getvalue()}).version

    served = home.artifacts.load_served(earlier)

    assert isinstance(served.scorer, Scorer)
    row = tuple(home.preparation.test_records[0].values())
    assert served.scorer.row(row) == home.artifacts.load_served("v1").scorer.row(row)


def test_the_manifest_says_what_serves_and_how_well_it_agrees(home):
    manifest = home.artifacts.manifest("v1")

    assert manifest.scorer == "linear"
    assert manifest.scorer_verdict.startswith("the compiled scorer agrees: 0 other labels in 455 reference rows")
    assert manifest.scorer_verdict in home.artifacts.model_card("v1")


def test_a_version_without_compiled_scorer_is_served_by_scikit_learn(home):
    manifest = home.artifacts.manifest("v1")
    version = home.artifacts.load("v1")
    contents = {name: (home.artifacts.root / "v1" / name).read_bytes() for name in manifest.files}
    del contents[FILE]
    home.artifacts.promote(home.artifacts.publish(manifest, contents).version, "v1", "test", "test")

    served = home.artifacts.load_served()

    assert isinstance(served.scorer, PickledScorer)
    record = home.preparation.test_records[0]
    assert served.scorer.row(tuple(record.values())) == version.outputs([record])[0].tolist()


def test_serving_imports_no_library_that_only_training_needs(home):
    heavy = ["sklearn", "scipy", "pandas", "mlflow", "joblib", "onnx", "onnxruntime", "alembic", "duckdb"]
    code = f"""
import json, sys
import serving.api
from boucle.artifacts import Artifacts
from pathlib import Path
version = Artifacts(Path({str(home.places.artifacts)!r})).load_served()
version.scorer.row(tuple(version.contract.example.values()))
version.embedding.vectors([version.contract.example])
print(json.dumps([name for name in {heavy} if name in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert json.loads(done.stdout) == []
