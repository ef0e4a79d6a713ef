"""Data tests: what `prepare` makes of real and awkward tables."""

import re

import numpy as np
import pandas as pd
import pytest

from boucle import preparation
from boucle.contract import Quantity
from boucle.errors import InvalidProject, InvalidSource, NotEnoughData, NotPrepared
from tests.support import PROJECT, ROOT, Home

DATASETS = ROOT.parent / "shared" / "datasets"


def table(rows=120):
    random = np.random.default_rng(1)
    number = random.normal(size=rows)
    return pd.DataFrame(
        {
            "age": random.integers(18, 90, rows),
            "income": np.where(random.random(rows) < 0.1, np.nan, number * 1000),
            "plan": random.choice(["basic", "plus", None], rows),
            "member": random.choice([True, False], rows),
            "charges": [" " if position == 3 else f"{value:.2f}" for position, value in enumerate(number)],
            "label": np.where(number > 0, "yes", "no"),
        }
    )


def test_the_yes_and_no_of_a_column_stay_texts(tmp_path):
    prepared, _ = prepare(tmp_path, table().assign(partner=["Yes", "No"] * 60))

    assert prepared.contract.features[-1].categories == ("No", "Yes")


def prepare(folder, frame, data="", name="table.csv", **options):
    folder.mkdir(exist_ok=True)
    source = folder / name
    frame.to_parquet(source) if name.endswith("parquet") else frame.to_csv(source, index=False, **options)
    text = f'[data]\nsource = "{source}"\ntarget = "label"\n{data}\n[training]\nfolds = 3\n'
    home = Home(folder / "home").write(text)
    return preparation.prepare(home.project, home.places.data, lambda _: None), home


def test_the_reference_data_are_the_components_and_the_target(trained):
    reference = pd.read_csv(trained.places.data / "ref_data.csv")

    assert list(reference.columns) == ["PCA_1", "PCA_2", "PCA_3", "PCA_4", "PCA_5", "target"]
    assert len(reference) == 455
    assert set(reference["target"]) == {"benign", "malignant"}


def test_the_same_data_and_seed_give_the_same_bytes(trained, tmp_path):
    again = Home(tmp_path / "again").write(PROJECT)
    again.train()

    for name in ("ref_data.csv", "test_data.csv"):
        assert (again.places.data / name).read_bytes() == (trained.places.data / name).read_bytes()
    assert again.artifacts.manifest("v1").metrics == trained.artifacts.manifest("v1").metrics


def test_the_embedding_never_sees_the_held_out_rows(trained, tmp_path):
    everything = pd.read_csv(trained.places.data / "raw" / "breast_cancer.csv")
    held_out = pd.read_csv(trained.places.data / "test_data.csv")
    merged = everything.merge(held_out.drop_duplicates(), how="left", indicator=True)
    corrupted = everything.copy()
    corrupted.loc[merged["_merge"] == "both", everything.columns[:-1]] *= 1000
    corrupted.to_csv(tmp_path / "corrupted.csv", index=False)
    project = PROJECT.replace("sklearn:breast_cancer", str(tmp_path / "corrupted.csv"))
    other = Home(tmp_path / "other").write(project)

    preparation.prepare(other.project, other.places.data, lambda _: None)

    assert (merged["_merge"] == "both").sum() == 114
    ours, theirs = (home.places.data / "ref_data.csv" for home in (trained, other))
    assert ours.read_bytes() == theirs.read_bytes()


def test_numbers_categories_booleans_and_gaps_become_components(tmp_path):
    prepared, _ = prepare(tmp_path, table())

    kinds = {feature.name: (feature.kind, feature.nullable) for feature in prepared.contract.features}

    assert kinds == {
        "age": ("number", False),
        "income": ("number", True),
        "plan": ("category", True),
        "member": ("boolean", False),
        "charges": ("number", True),  # one blank cell does not make a text of it
    }
    assert np.isfinite(prepared.vectors).all()
    assert len(prepared.test_records) == 24


@pytest.mark.parametrize(
    ("name", "options"),
    [("t.parquet", {}), ("t.csv.gz", {}), ("t.csv", {"sep": ";"}), ("t.csv", {"sep": "\t"})],
    ids=["parquet", "gzip", "semicolons", "tabs"],
)
def test_the_same_table_in_another_format_gives_the_same_reference_data(tmp_path, name, options):
    frame = table().drop(columns="charges")
    expected, _ = prepare(tmp_path / "csv", frame)

    other, _ = prepare(tmp_path / "other", frame, name=name, **options)

    assert np.allclose(other.vectors, expected.vectors)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["b", "a", "c"], ("a", "b", "c")),
        ([1, 0, 2], (0, 1, 2)),
        ([True, False], (False, True)),
        (["true", "FALSE"], (False, True)),
        (["Yes", "No"], ("No", "Yes")),
        (["t", "f"], ("f", "t")),
        (["=1+1", 'ok,"q"'], ("=1+1", 'ok,"q"')),
    ],
)
def test_labels_may_be_texts_integers_or_booleans(tmp_path, labels, classes):
    frame = table().assign(label=[labels[row % len(labels)] for row in range(120)])

    prepared, _ = prepare(tmp_path, frame)

    assert prepared.contract.target.classes == classes
    assert [type(label) for label in prepared.contract.target.classes] == [type(label) for label in classes]


@pytest.mark.parametrize(
    ("labels", "is_quantity"),
    [(range(120), True), ([row / 7 for row in range(120)], True), ([row % 10 for row in range(120)], False)],
)
def test_numbers_with_fractions_or_many_values_are_a_quantity(tmp_path, labels, is_quantity):
    prepared, _ = prepare(tmp_path, table().assign(label=labels))

    assert isinstance(prepared.contract.target, Quantity) == is_quantity
    assert prepared.labels.dtype == (np.float64 if is_quantity else np.int64)


def test_the_project_may_say_that_a_few_integers_are_a_quantity(tmp_path):
    frame = table().assign(label=[row % 5 for row in range(120)])

    prepared, _ = prepare(tmp_path, frame, 'task = "regression"')

    assert (prepared.contract.target.minimum, prepared.contract.target.maximum) == (0.0, 4.0)
    assert sorted(set(prepared.labels)) == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_texts_are_no_quantity(tmp_path):
    with pytest.raises(InvalidSource, match=r"data.task is regression, but the target label holds no numbers"):
        prepare(tmp_path, table(), 'task = "regression"')


def test_rows_without_a_label_are_left_out(tmp_path):
    frame = table()
    frame.loc[:9, "label"] = None

    prepared, _ = prepare(tmp_path, frame)

    assert len(prepared.labels) + len(prepared.test_labels) == 110


def test_a_query_makes_a_target_of_other_columns(tmp_path):
    data = """query = "SELECT * REPLACE (CASE WHEN age > 50 THEN 'old' ELSE 'young' END AS label) FROM source" """

    prepared, _ = prepare(tmp_path, table(), data)

    assert prepared.contract.target.classes == ("old", "young")


def test_the_last_rows_are_held_out_when_the_split_is_by_time(tmp_path):
    frame = table().assign(age=range(120))

    prepared, _ = prepare(tmp_path, frame, 'split = "time"')

    assert [record["age"] for record in prepared.test_records] == [float(age) for age in range(96, 120)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda frame: frame.assign(id=[f"row {row}" for row in range(120)]), "column id holds 96 different texts"),
        (lambda frame: frame.assign(day=pd.Timestamp("2026-01-01")), "column day holds dates"),
        (lambda frame: frame.assign(empty=None), "column empty is empty"),
        (lambda frame: frame.assign(label="yes"), "the target label has one single value"),
        (
            lambda frame: frame.assign(label=[f"n{row}" for row in range(120)]),
            "label has 120 different values, 100 classes",
        ),
        (lambda frame: frame.drop(columns="label"), "no column label in the source; its columns are age"),
        (lambda frame: frame[["label"]], "no column beside the target"),
        (lambda frame: frame.head(0), "holds no row"),
    ],
)
def test_data_that_do_not_fit_are_refused_with_the_column_and_the_remedy(tmp_path, change, said):
    with pytest.raises(InvalidSource, match=re.escape(said)):
        prepare(tmp_path, change(table()))


def test_a_source_that_is_missing_or_unreadable_is_named(tmp_path):
    with pytest.raises(InvalidSource, match="no such file"):
        preparation.prepare(*_of(tmp_path, tmp_path / "none.csv"), lambda _: None)
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe\x00")
    with pytest.raises(InvalidSource, match=re.escape("Boucle reads UTF-8 CSV and Parquet")):
        preparation.prepare(*_of(tmp_path, tmp_path / "picture.csv"), lambda _: None)


def test_more_components_than_columns_are_refused(tmp_path):
    folder = tmp_path / "home"
    home = Home(folder).write(PROJECT.replace("components = 5", "components = 31"))

    with pytest.raises(NotEnoughData, match="at most 30 can be had"):
        preparation.prepare(home.project, home.places.data, lambda _: None)


def test_a_changed_reference_file_is_not_trained_on(home):
    with (home.places.data / "ref_data.csv").open("a") as file:
        file.write("0,0,0,0,0,benign\n")

    with pytest.raises(NotPrepared, match="run make prepare"):
        preparation.load(home.places.data)


def test_nothing_is_prepared_again_until_data_or_project_change(home):
    assert preparation.is_current(home.project, home.places.data)

    home.write(PROJECT.replace("k = 50", "k = 20"))
    assert preparation.is_current(home.project, home.places.data)

    home.write(PROJECT.replace("components = 5", "components = 6"))
    assert not preparation.is_current(home.project, home.places.data)


@pytest.mark.parametrize("parameter", ["depth = 3", "C = -1", 'C = "much"'])
def test_a_wrong_parameter_of_an_algorithm_is_named(tmp_path, parameter):
    home = Home(tmp_path / "home").write(PROJECT + f"[training.parameters.logistic_regression]\n{parameter}\n")

    with pytest.raises(InvalidProject, match=rf"training.parameters.logistic_regression: .*{parameter.split()[0]}"):
        home.train()


REAL_SETS = {
    "telco_churn.csv.gz": 'target = "Churn"\ndrop = ["customerID"]',
    "bank_marketing_drift.csv.gz": 'target = "y"\ndrop = ["duration"]',
    "bike_hourly_drift_regression.csv.gz": 'target = "busy"\nquery = "SELECT * EXCLUDE (count), count > 200 AS busy '
    'FROM source"\ndrop = ["date", "casual", "registered"]',
    "football_epl/results_0910.csv": 'target = "FTR"\ndrop = ["Date", "FTHG", "FTAG"]',
}


@pytest.mark.skipif(not DATASETS.exists(), reason="the folder of real data sets is not beside this checkout")
@pytest.mark.parametrize(("name", "data"), REAL_SETS.items())
def test_a_real_set_works_by_editing_the_project_file_alone(tmp_path, name, data):
    text = (
        f'[data]\nsource = "{DATASETS / name}"\n{data}\n[training]\ncandidates = ["logistic_regression"]\nfolds = 2\n'
    )
    home = Home(tmp_path / "home").write(text)

    home.train()

    metrics = home.artifacts.manifest("v1").metrics["held-out test rows"]
    assert metrics["roc_auc"] > 0.6


def _of(tmp_path, source):
    home = Home(tmp_path / "home").write(f'[data]\nsource = "{source}"\ntarget = "label"\n')
    return home.project, home.places.data
