"""The API in one process, through its public door."""

import csv
import io
import json
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fastapi.testclient import TestClient

from serving.api import create_app
from serving.settings import Settings
from tests.support import PROJECT, Home, rows_of

CSV, NDJSON = {"Content-Type": "text/csv"}, {"Content-Type": "application/x-ndjson"}


@pytest.fixture
def row(home):
    return home.preparation.contract.example


def as_csv(rows):
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def lines(answer):
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def test_an_answer_equals_an_offline_recomputation_with_the_version_it_names(client, home):  # T12
    for record in home.preparation.test_records[:20]:
        answer = client.post("/predict", json=record).json()
        version = home.artifacts.load(answer["model_version"])
        expected = version.outputs([record])[0]

        assert np.allclose(list(answer["probabilities"].values()), expected, rtol=0, atol=1e-5)
        assert answer["prediction"] == version.contract.target.classes[expected.argmax()]


def test_curl_without_a_content_type_is_understood(client, row):
    answer = client.post(
        "/predict", content=json.dumps(row), headers={"Content-Type": "application/x-www-form-urlencoded"}
    )

    assert answer.status_code == 200


def test_a_prediction_is_logged_behind_the_answer(client, home, row):
    given = client.post("/predict", json=row).json()
    client.post("/feedback", json={"prediction_id": given["prediction_id"], "target": "benign"})

    logged = home.store.predictions.find(given["prediction_id"])

    assert logged.input == row
    assert logged.probabilities == given["probabilities"]


@pytest.mark.parametrize("kind", ["json", "ndjson", "csv", "csv with semicolons", "csv of Excel"])
def test_a_batch_gives_each_row_its_answer_in_order(client, home, kind):
    rows = home.preparation.test_records[:30]
    alone = [client.post("/predict", json=row).json()["prediction"] for row in rows]
    body, headers = {
        "json": (json.dumps(rows), {}),
        "ndjson": ("\n".join(json.dumps(row) for row in rows), NDJSON),
        "csv": (as_csv(rows), CSV),
        "csv with semicolons": (as_csv(rows).replace(",", ";"), CSV),
        "csv of Excel": ("\ufeff" + as_csv(rows), CSV | {"Content-Type": "text/csv; charset=utf-8"}),
    }[kind]

    answers = lines(client.post("/predict/batch", content=body.encode(), headers=headers))

    assert [answer["row"] for answer in answers] == list(range(1, 31))
    assert [answer["prediction"] for answer in answers] == alone
    assert len({answer["prediction_id"] for answer in answers}) == 30


def test_a_wrong_row_is_its_error_and_the_others_are_predicted(client, row):
    answers = lines(client.post("/predict/batch", json=[row, row | {"mean area": "big"}, {}, row]))

    assert ["prediction" in answer for answer in answers] == [True, False, False, True]
    assert answers[1]["error"]["errors"] == [
        {"field": "mean area", "value": '"big"', "message": "must be a number; seen 143.5 to 2501"}
    ]


def test_feedback_by_identifier_lands_on_its_prediction(client, home):  # T3
    rows = home.preparation.test_records[:10]
    given = [client.post("/predict", json=row).json() for row in rows]
    for answer in reversed(given):
        receipt = client.post("/feedback", json={"prediction_id": answer["prediction_id"], "target": "malignant"})
        assert receipt.status_code == 201

    expected = home.preparation.embedding.vectors(rows[::-1])

    stored = [[float(cell) for cell in line.split(",")[:-2]] for line in rows_of(home)]
    assert np.allclose(stored, expected)
    assert [line.split(",")[-1] for line in rows_of(home)] == [answer["prediction"] for answer in given[::-1]]


def test_feedback_by_data_is_stored_once_per_key(client, home, row):
    body = {"data": row, "prediction": "malignant", "target": "benign"}

    answers = [client.post("/feedback", json=body, headers={"Idempotency-Key": "k1"}) for _ in range(50)]  # T2

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert len(rows_of(home)) == 1
    assert rows_of(home)[0].endswith("benign,malignant")


def test_two_equal_observations_without_a_key_are_two_rows(client, home, row):
    body = {"data": row, "prediction": "malignant", "target": "benign"}

    assert [client.post("/feedback", json=body).json()["row"] for _ in range(2)] == [1, 2]


def test_feedback_that_waits_for_the_store_keeps_no_prediction_waiting(client, home, row):
    body = {"data": row, "prediction": "malignant", "target": "benign"}
    with ThreadPoolExecutor(60) as pool, home.store.feedback._database.writing():  # a writer that takes its time
        waiting = [pool.submit(client.post, "/feedback", json=body) for _ in range(60)]
        time.sleep(1)
        started = time.monotonic()
        assert client.post("/predict", json=row).status_code == 200
        seconds = time.monotonic() - started
        assert not any(answer.done() for answer in waiting)

    assert seconds < 5
    assert sorted(answer.result().json()["row"] for answer in waiting) == list(range(1, 61))


def test_another_label_for_the_same_prediction_is_a_conflict(client, row):
    identifier = client.post("/predict", json=row).json()["prediction_id"]
    client.post("/feedback", json={"prediction_id": identifier, "target": "benign"})

    answer = client.post("/feedback", json={"prediction_id": identifier, "target": "malignant"})

    assert answer.status_code == 409
    assert "the first one stays" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"prediction_id": "unknown", "target": "benign"}, 404, None),
        ({"prediction_id": "019b0000-0000-7000-8000-000000000000", "target": "benign"}, 404, None),
        ({"prediction_id": "x" * 65, "target": "benign"}, 422, "prediction_id"),
        ({"prediction_id": 5, "target": "benign"}, 422, "prediction_id"),
        ({"prediction_id": "a\0b", "target": "benign"}, 422, "prediction_id"),
        ({"prediction_id": "unknown"}, 422, "target"),
        ({"target": "benign"}, 422, "data"),
        ({"data": "ROW", "prediction": "benign", "target": ""}, 422, "target"),
        ({"data": "ROW", "prediction": "benign", "target": "x" * 101}, 422, "target"),
        ({"data": "ROW", "prediction": "fine", "target": "benign"}, 422, "prediction"),
        ({"data": "ROW", "prediction": "benign", "target": 1}, 422, "target"),
        ({"data": "ROW", "prediction": "benign", "target": ["benign"]}, 422, "target"),
        ({"data": "ROW", "prediction": "benign", "target": "benign", "note": 1}, 422, "note"),
        ({"data": {}, "prediction": "benign", "target": "benign"}, 422, "mean radius"),
        ({"data": [], "prediction": "benign", "target": "benign"}, 422, "data"),
        ([], 422, "body"),
        (None, 422, "body"),
    ],
)
def test_wrong_feedback_is_a_problem_that_names_the_field(client, home, row, body, status, field):  # I7
    if isinstance(body, dict) and body.get("data") == "ROW":
        body = body | {"data": row}

    answer = client.post("/feedback", json=body)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert field is None or field in [error["field"] for error in answer.json()["errors"]]
    assert rows_of(home) == []


@pytest.mark.parametrize(
    ("content", "headers", "status", "said"),
    [
        (b"", CSV, 422, "is empty"),
        (b"\n\n", CSV, 422, "is empty"),
        ("mean radius,naïve\n1,2\n".encode("latin-1"), CSV, 422, "not UTF-8: byte 0xEF at position 14"),
        ("mean radius\n1\n".encode("utf-16"), CSV, 422, "not UTF-8"),
        (b"\x89PNG\r\n\x1a\n\0\0", CSV, 422, "not UTF-8"),
        (b'"' + b"x" * 200_000 + b'"', CSV, 422, "is not CSV"),
        (b"a,b\n1,2\n", CSV, 422, "mean radius: is missing from the header line"),
        (b"[", {}, 422, "is not JSON"),
        (b"{}", {}, 422, "must be an array"),
        (b"[]", {}, 422, "holds no row"),
        (b"\n \n", NDJSON, 422, "holds no row"),
        (b"1", {"Content-Type": "image/png"}, 415, "send application/json, application/x-ndjson, text/csv"),
    ],
)
def test_a_batch_that_cannot_be_read_is_a_problem(client, content, headers, status, said):
    answer = client.post("/predict/batch", content=content, headers=headers)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert said in answer.json()["detail"]


def test_a_header_without_rows_is_a_problem(client, row):
    answer = client.post("/predict/batch", content=",".join(row).encode(), headers=CSV)

    assert answer.status_code == 422
    assert "holds no row" in answer.json()["detail"]


def test_a_short_csv_row_is_its_error(client, row):
    body = as_csv([row, row]) + "1,2\n"

    answers = lines(client.post("/predict/batch", content=body.encode(), headers=CSV))

    assert answers[2]["error"]["detail"] == "row: has 2 cells, the header line has 30"


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/feedback", "/models/v1/promote"])
def test_a_body_of_20_mb_is_refused_announced_or_not(client, path, announced):  # I3
    content = b"x" * 20_000_000 if announced else (b"x" * 100_000 for _ in range(200))

    answer = client.post(path, content=content)

    assert answer.status_code == 413
    assert "10,000,000 bytes" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("DELETE", "/predict", 405),
        ("GET", "/models/v9", 404),
        ("GET", "/models/..%2Fv1", 404),
        ("POST", "/models/v9/promote", 404),
        ("GET", "/retrain/7", 404),
        ("GET", "/retrain/0", 422),
        ("GET", "/retrain/99999999999999999999", 422),
        ("GET", "/retrain/first", 422),
    ],
)
def test_every_error_is_a_problem_with_a_stable_type_and_the_request_id(client, method, path, status):
    answer = client.request(method, path, headers={"X-Request-ID": "mine-1"})

    problem = answer.json()
    assert (answer.status_code, problem["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["type"].startswith("urn:boucle:problem:")
    assert problem["request_id"] == answer.headers["x-request-id"] == "mine-1"


def test_a_request_id_cannot_forge_a_header_or_a_log_line(client):
    answer = client.get("/livez", headers={"X-Request-ID": "a b;<script>"})

    assert answer.headers["x-request-id"] != "a b;<script>"


def test_without_a_model_the_api_lives_is_not_ready_and_recovers(home):
    pointer = home.artifacts.pointer_path.read_bytes()
    home.artifacts.pointer_path.unlink()
    with TestClient(create_app(Settings(watch_seconds=0.05), home.places)) as client:
        assert client.get("/livez").status_code == 200
        for path in ("/readyz", "/models"):
            assert client.get(path).status_code == 503
        refusal = client.post("/predict", json={})
        assert refusal.status_code == 503
        assert "run make train" in refusal.json()["detail"]
        assert client.get("/openapi.json").status_code == 200

        home.artifacts.pointer_path.write_bytes(pointer)
        client.app.state.parts.watcher.check()

        assert client.get("/readyz").json() == {"status": "ready", "model_version": "v1"}


def test_a_damaged_new_champion_is_refused_and_the_old_one_stays(client, home, row):  # F3
    home.train()
    path = home.places.artifacts / "v2" / "model.pkl"
    path.write_bytes(path.read_bytes()[:-1])

    client.app.state.parts.watcher.check()

    assert client.post("/predict", json=row).json()["model_version"] == "v1"
    assert client.get("/readyz").status_code == 200
    assert 'boucle_model_loads_total{result="refused"}' in client.get("/metrics").text


def test_a_version_promoted_by_hand_is_served_by_the_answer_and_can_be_rolled_back(client, home, row):
    home.train()
    client.app.state.parts.watcher.check()
    assert client.post("/predict", json=row).json()["model_version"] == "v2"

    models = client.post("/models/v1/promote", json={"reason": "v2 is odd", "actor": "me"}).json()

    assert models == client.get("/models").json()
    assert (models["champion"], models["previous"], models["reason"]) == ("v1", "v2", "v2 is odd")
    assert client.post("/predict", json=row).json()["model_version"] == "v1"


def test_the_list_of_models_tells_who_was_champion_and_why(client, home):
    home.train()
    client.post("/models/v1/promote", json={"reason": "v2 is odd", "actor": "Ada"})

    models = client.get("/models").json()

    newest, second, first = models["history"]
    assert newest == {
        "version": "v1",
        "previous": "v2",
        "from": models["promoted_at"],
        "until": None,
        "reason": "v2 is odd",
        "actor": "Ada",
    }
    assert (second["version"], second["until"], first["until"]) == ("v2", newest["from"], second["from"])
    assert models["champion_at"] is None
    assert [(one["version"], one["strategy"], one["verdict"], one["run_id"]) for one in models["models"]] == [
        ("v2", "scratch", "promoted", None),
        ("v1", "scratch", "promoted", None),
    ]


def test_the_history_shows_the_last_hundred_promotions_and_finds_older_ones(client, home):
    home.train()
    for number in range(120):
        new, old = ("v1", "v2") if number % 2 == 0 else ("v2", "v1")
        home.artifacts.promote(new, replacing=old, reason=f"number {number}", actor="")
    oldest = list(home.artifacts.reigns())[-1].promotion.promoted_at

    models = client.get("/models", params={"at": oldest}).json()

    assert [one["reason"] for one in models["history"]] == [f"number {number}" for number in range(119, 19, -1)]
    assert (models["champion_at"]["version"], models["champion_at"]["from"]) == ("v1", oldest)


def test_who_was_champion_at_a_time_is_answered(client, home):
    first = client.get("/models").json()["promoted_at"]
    time.sleep(0.002)
    home.train()
    second = client.get("/models").json()["promoted_at"]

    def champion_at(moment):
        return client.get("/models", params={"at": moment}).json()["champion_at"]["version"]

    assert champion_at(first) == "v1"
    assert champion_at(second) == champion_at("2100-01-01") == "v2"
    # Without a zone it is UTC, whatever the server's zone; and a minute farther east it was the same time a minute ago.
    assert champion_at(second.removesuffix("+00:00")) == "v2"
    assert client.get("/models", params={"at": first.replace("+00:00", "+00:01")}).status_code == 404


@pytest.mark.parametrize(
    ("at", "status", "said"),
    [
        ("2001-01-01T00:00:00Z", 404, "nobody was champion at 2001-01-01T00:00:00+00:00; v1, the first that is known"),
        ("0001-01-01T00:00:00+23:59", 404, "nobody was champion"),
        ("yesterday", 422, "must be a date and time such as 2026-11-20T10:00:00Z"),
        ("2026-11-20T10:00:00 01:00", 422, "the + of a time zone is %2B"),
        ("2026-02-30", 422, "must be a date and time"),
        ("", 422, "must be a date and time"),
        ("9" * 10_000, 422, "must be a date and time"),
        ("2026-11-20\0", 422, "must be a date and time"),
    ],
)
def test_a_time_without_a_champion_or_a_sense_is_a_problem(client, at, status, said):
    answer = client.get("/models", params={"at": at})

    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert said in answer.json()["detail"]
    assert [one["field"] for one in answer.json()["errors"]] == (["at"] if status == 422 else [])


def test_a_damaged_version_hides_no_other_from_the_list(client, home):
    home.train()
    (home.places.artifacts / "v1" / "manifest.json").write_bytes(b"{")

    models = client.get("/models").json()

    assert [one["version"] for one in models["models"]] == ["v2"]
    assert [one["version"] for one in models["damaged"]] == ["v1"]
    assert "is not a manifest" in models["damaged"][0]["reason"]


def test_a_page_that_saw_another_champion_overwrites_nobody(client, home):
    home.train()
    home.train()

    late = client.post("/models/v1/promote", json={"replacing": "v2"})
    assert (late.status_code, late.headers["content-type"]) == (409, "application/problem+json")
    assert late.json()["detail"] == "v3 is the champion by now, not v2: v1 does not replace it"
    assert client.get("/models").json()["champion"] == "v3"

    # The second time is a client whose first answer was lost.
    answers = [client.post("/models/v1/promote", json={"replacing": "v3"}) for _ in range(2)]
    assert [answer.json()["champion"] for answer in answers] == ["v1", "v1"]
    assert len(answers[1].json()["history"]) == 4


def test_the_list_of_models_is_answered_while_versions_are_pruned(client, home):
    manifest = home.artifacts.manifest("v1")
    contents = {name: (home.places.artifacts / "v1" / name).read_bytes() for name in manifest.files}
    versions = [home.artifacts.publish(manifest, contents).version for _ in range(20)]

    with ThreadPoolExecutor(1) as pool:
        pruning = pool.submit(lambda: [home.artifacts.delete({version}) for version in versions])
        statuses = [client.get("/models").status_code]
        while not pruning.done():
            statuses.append(client.get("/models").status_code)

    assert set(statuses) == {200}
    assert [one["version"] for one in client.get("/models").json()["models"]] == ["v21", "v1"]


def test_promoting_a_damaged_version_is_refused(client, home, row):  # T11
    home.train()
    client.post("/models/v1/promote")
    (home.places.artifacts / "v2" / "model.pkl").unlink()

    answer = client.post("/models/v2/promote")

    assert answer.status_code == 409
    assert "v2/model.pkl" in answer.json()["detail"]
    assert client.post("/predict", json=row).json()["model_version"] == "v1"


def test_a_version_with_a_new_embedding_takes_the_feedback_along(client, home, row):
    body = {"data": row, "prediction": "malignant", "target": "benign"}
    client.post("/feedback", json=body)
    home.write(PROJECT.replace("components = 5", "components = 3"))
    home.train()

    # Another worker has swapped already: this one learns of it from the store, while it answers.
    home.store.feedback.use(home.preparation.embedding)
    answer = client.post("/feedback", json=body)

    assert answer.json()["row"] == 2
    assert home.prod_data.read_text().startswith("PCA_1,PCA_2,PCA_3,target,prediction\n")
    assert len(rows_of(home)) == 2


def test_retraining_is_requested_and_followed(client):
    answer = client.post("/retrain", headers={"Idempotency-Key": "nightly"})
    again = client.post("/retrain", headers={"Idempotency-Key": "nightly"})

    assert answer.status_code == 202
    assert answer.json() == again.json()
    assert client.get(answer.headers["location"]).json()["state"] == "requested"
    summary = client.get("/retrain").json()
    assert (summary["k"], summary["feedback_rows"], summary["rows_to_next_retraining"]) == (50, 0, 50)
    assert [run["id"] for run in summary["runs"]] == [1]


def test_where_no_number_of_rows_requests_a_run_none_are_missing(home, row):
    home.write(home.places.project.read_text().replace("k = 50", "k = 0"))

    with TestClient(create_app(Settings(watch_seconds=60), home.places)) as client:
        receipt = client.post("/feedback", json={"data": row, "prediction": "benign", "target": "benign"}).json()
        summary = client.get("/retrain").json()

    assert (receipt["row"], receipt["retraining_requested"], receipt["rows_to_next_retraining"]) == (1, False, None)
    assert (summary["k"], summary["feedback_rows"], summary["rows_to_next_retraining"]) == (0, 1, None)


def test_a_run_says_why_it_was_requested(client, home):
    home.store.runs.request("drift", trigger_reason="drift: mean radius moved by 0.8 standard deviations")

    run = client.get("/retrain/1").json()

    assert (run["trigger"], run["trigger_reason"]) == (
        "drift",
        "drift: mean radius moved by 0.8 standard deviations",
    )


def test_the_openapi_page_knows_the_projects_columns_and_a_real_row(client, home, row):
    document = client.get("/openapi.json").json()
    datum = document["components"]["schemas"]["Datum"]

    assert document["info"]["title"] == "Test"
    assert list(datum["properties"]) == list(row)
    assert datum["properties"]["mean radius"]["description"] == "seen 6.981 to 28.11, median 13.34"
    assert datum["examples"] == [row]
    assert document["components"]["schemas"]["Target"] == {"title": "diagnosis", "enum": ["benign", "malignant"]}


def test_every_example_of_the_openapi_page_works_as_it_stands(client):
    paths = client.get("/openapi.json").json()["paths"]
    for path, operations in paths.items():
        for method, operation in operations.items():
            if "requestBody" not in operation:
                continue
            example = operation["requestBody"]["content"]["application/json"]["example"]
            url = path.replace("{version}", "v1")

            answer = client.request(method, url, json=example)

            assert answer.status_code in (200, 201, 202), (path, answer.text)


def test_the_documentation_page_needs_no_internet(client):
    page = client.get("/docs").text

    assert "cdn" not in page
    assert client.get("/swagger/swagger-ui-bundle.js").status_code == 200


def test_metrics_count_by_route_so_that_no_client_can_invent_labels(client, row):
    client.post("/predict", json=row)
    client.get("/a-path-nobody-declared")

    text = client.get("/metrics").text

    assert 'boucle_http_requests_total{method="POST",route="/predict",status="200"}' in text
    assert "a-path-nobody-declared" not in text


def test_a_class_that_is_not_known_yet_is_kept_aside_and_the_client_is_told(client, home, row):
    answer = client.post("/feedback", json={"data": row, "prediction": "benign", "target": "borderline"})

    assert answer.status_code == 201
    receipt = answer.json()
    assert receipt["status"] == "set aside"
    assert "is no class of diagnosis yet" in receipt["reason"]
    assert rows_of(home) == []
    accepted = client.post("/feedback", json={"data": row, "prediction": "benign", "target": "benign"}).json()
    assert (accepted["row"], accepted["status"], accepted["reason"]) == (2, "accepted", None)
    assert len(rows_of(home)) == 1


@pytest.fixture(scope="module")
def quantity(tmp_path_factory):
    """A project that predicts a number."""
    folder = tmp_path_factory.mktemp("quantity")
    random = np.random.default_rng(0)
    lines = [f"{size:.3f},{20 + 3 * size:.3f}" for size in random.normal(10, 2, 200)]
    (folder / "flats.csv").write_text("\n".join(["size,rent", *lines]))
    home = Home(folder / "home").write(f'[data]\nsource = "{folder / "flats.csv"}"\ntarget = "rent"\n')
    home.train()
    return home


@pytest.fixture
def quantity_client(quantity):
    with TestClient(create_app(Settings(watch_seconds=60), quantity.places), raise_server_exceptions=False) as client:
        yield client


def test_a_quantity_is_predicted_and_corrected(quantity_client, quantity):
    predicted = quantity_client.post("/predict", json={"size": 12.0}).json()

    assert predicted["prediction"] == pytest.approx(56, abs=1)
    assert predicted["probabilities"] == {}
    body = {"prediction_id": predicted["prediction_id"], "target": 60}
    receipt = quantity_client.post("/feedback", json=body)
    assert receipt.status_code == 201, receipt.text
    assert rows_of(quantity)[-1].endswith(f"60.0,{predicted['prediction']}")


@pytest.mark.parametrize("target", ["60", True, None, 1e30])
def test_a_true_value_that_is_no_possible_number_is_a_problem(quantity_client, target):
    answer = quantity_client.post("/feedback", json={"data": {"size": 1.0}, "prediction": 50.0, "target": target})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "target"


def test_the_openapi_page_says_that_a_number_is_predicted(quantity_client):
    target = quantity_client.get("/openapi.json").json()["components"]["schemas"]["Target"]

    assert target["type"] == "number"
    assert target["x-observed"].keys() == {"integer", "minimum", "maximum", "median"}
