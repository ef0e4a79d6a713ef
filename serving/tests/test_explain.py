"""POST /explain, through its public door."""

import json
import math
import shutil

import pytest
from fastapi.testclient import TestClient

from boucle import background
from serving.api import create_app
from serving.settings import Settings
from tests.support import PROJECT, Home

WITH_FOREST = PROJECT.replace("logistic_regression", "random_forest")


@pytest.fixture
def row(home):
    return home.preparation.contract.example


@pytest.fixture(scope="module")
def forest(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("forest")).write(WITH_FOREST)
    home.train()
    return home


def total(explained):
    return math.fsum(one["contribution"] for one in explained["contributions"])


def test_a_linear_answer_is_explained_exactly_in_the_projects_own_columns(client, home, row):
    predicted = client.post("/predict", json=row).json()

    explained = client.post("/explain", json=row).json()

    assert (explained["model_version"], explained["method"]) == ("v1", "linear")
    assert explained["prediction"] == predicted["prediction"]
    assert explained["scale"] == f"log-odds of {predicted['prediction']}"
    assert {one["column"]: one["value"] for one in explained["contributions"]} == row
    assert total(explained) == pytest.approx(explained["output"] - explained["base"])
    probability = predicted["probabilities"][predicted["prediction"]]
    assert 1 / (1 + math.exp(-explained["output"])) == pytest.approx(probability, abs=1e-6)
    assert explained["standard_error"] is None
    assert explained["background"] == f"the mean of all {home.artifacts.manifest('v1').reference_rows} reference rows"


def test_the_largest_contribution_comes_first(client, row):
    amounts = [abs(one["contribution"]) for one in client.post("/explain", json=row).json()["contributions"]]

    assert amounts == sorted(amounts, reverse=True)


def test_a_forest_is_explained_by_sampling_and_says_how_exactly(forest):
    with TestClient(create_app(Settings(), forest.places)) as client:
        for row in forest.preparation.test_records[:3]:
            predicted = client.post("/predict", json=row).json()

            explained = client.post("/explain", json=row).json()

            assert explained["method"] == "shapley"
            assert explained["scale"] == f"probability of {predicted['prediction']}"
            assert explained["output"] == pytest.approx(max(predicted["probabilities"].values()), abs=1e-5)
            assert total(explained) == pytest.approx(explained["output"] - explained["base"])
            assert 0 < explained["standard_error"] < 0.05
            assert explained["background"] == "200 of 455 reference rows"
            assert explained == client.post("/explain", json=row).json()


def test_a_version_made_before_there_was_a_background_is_explained_too(forest, tmp_path):
    home = Home(shutil.copytree(forest.folder, tmp_path / "home"))
    manifest = home.artifacts.manifest("v1")
    contents = {name: (home.artifacts.root / "v1" / name).read_bytes() for name in manifest.files}
    del contents[background.FILE]
    home.artifacts.promote(home.artifacts.publish(manifest, contents).version, "v1", "test", "test")
    with TestClient(create_app(Settings(), home.places)) as client:
        explained = client.post("/explain", json=manifest.contract.example).json()

    assert explained["background"].startswith("one typical row")
    assert total(explained) == pytest.approx(explained["output"] - explained["base"])


def test_a_prediction_is_explained_by_the_version_that_made_it(client, home, row):
    identifier = client.post("/predict", json=row).json()["prediction_id"]
    before = client.post("/explain", json={"prediction_id": identifier})
    manifest = home.artifacts.manifest("v1")
    contents = {name: (home.artifacts.root / "v1" / name).read_bytes() for name in manifest.files}
    home.artifacts.publish(manifest, contents)
    client.post("/models/v2/promote", json={})
    assert client.post("/explain", json=row).json()["model_version"] == "v2"

    after = client.post("/explain", json={"prediction_id": identifier})

    assert before.json() == client.post("/explain", json=row).json() | {"model_version": "v1"}
    assert after.json() == before.json()


def test_a_prediction_of_a_version_that_is_gone_cannot_be_explained(client, home, row):
    identifier = client.post("/predict", json=row).json()["prediction_id"]
    manifest = home.artifacts.manifest("v1")
    contents = {name: (home.artifacts.root / "v1" / name).read_bytes() for name in manifest.files}
    home.artifacts.publish(manifest, contents)
    client.post("/models/v2/promote", json={})
    shutil.rmtree(home.artifacts.root / "v1")

    answer = client.post("/explain", json={"prediction_id": identifier})

    assert answer.status_code == 404
    assert answer.json()["detail"] == "v1, which made it, is kept no longer; send its data instead"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"mean area": "big"}, "mean area"),
        ({"mean area": None}, "mean area"),
        ({"mean area": 1e12}, "mean area"),
        ({"mean aera": 1.0}, "mean aera"),
    ],
)
def test_a_wrong_datum_is_refused_in_the_words_of_predict(client, row, change, field):
    answers = [client.post(path, json=row | change) for path in ("/explain", "/predict")]

    assert [answer.status_code for answer in answers] == [422, 422]
    explained, predicted = (answer.json()["errors"] for answer in answers)
    assert explained == predicted
    assert explained[0]["field"] == field


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"\xff", 422),
        (b"[" * 100_000, 422),
        (b"[]", 422),
        (b"null", 422),
        (b'"prediction_id"', 422),
        (b'{"prediction_id": 1}', 422),
        (b'{"prediction_id": ""}', 422),
        (b'{"prediction_id": "a\\u0000b"}', 422),
        (b'{"prediction_id": "p", "mean area": 1}', 422),
        (b'{"prediction_id": "unknown"}', 404),
    ],
)
def test_a_wrong_body_is_a_problem_and_never_a_5xx(client, body, status):
    answer = client.post("/explain", content=body)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    if status == 404:
        assert answer.json()["detail"].endswith("is not in the log; send its data instead")


def test_a_column_named_as_the_identifier_is_a_column(tmp_path):
    table = "prediction_id,y\n" + "".join(f"{number},{'yes' if number > 25 else 'no'}\n" for number in range(50))
    home = Home(tmp_path / "home").write(
        PROJECT.replace("sklearn:breast_cancer", str(tmp_path / "rows.csv"))
        .replace("diagnosis", "y")
        .replace("components = 5", "")
    )
    (tmp_path / "rows.csv").write_text(table)
    home.train()
    with TestClient(create_app(Settings(), home.places)) as client:
        explained = client.post("/explain", json={"prediction_id": 3}).json()

    assert [one["column"] for one in explained["contributions"]] == ["prediction_id"]


def test_before_there_is_a_model_the_answer_says_so(tmp_path):
    with TestClient(create_app(Settings(), Home(tmp_path / "home").write(PROJECT).places)) as client:
        assert client.post("/explain", json={}).status_code == 503


def test_the_document_shows_a_datum_that_can_be_explained(client):
    document = client.get("/openapi.json").json()

    body = document["paths"]["/explain"]["post"]["requestBody"]["content"]["application/json"]
    assert client.post("/explain", content=json.dumps(body["example"])).status_code == 200
