"""GET /monitoring and POST /reports."""

from datetime import UTC, datetime

from boucle.monitoring.observer import Observer


def test_before_the_first_look_there_is_nothing_to_see(client):
    answer = client.get("/monitoring")

    assert answer.status_code == 200
    assert answer.json() == {"latest": None, "history": []}


def test_what_was_seen_is_answered_with_its_history(client, home):
    observer = Observer(home.project, home.places.data, home.artifacts, home.store)
    record = home.preparation.test_records[0]
    for _ in range(2):
        for _ in range(60):
            assert client.post("/predict", json=record).status_code == 200
        client.app.state.parts.journal.flush()
        seen = observer.look(datetime.now(UTC))

    answer = client.get("/monitoring").json()

    assert answer["latest"] == seen.model_dump(mode="json")
    assert [point["share"] for point in answer["history"]] == [seen.drift.share] * 2
    assert answer["history"][-1] == seen.point.model_dump(mode="json")

    few = client.get("/monitoring?columns=2").json()
    farthest = [column.column for column in seen.drift.columns[:2]]
    assert [set(point["sizes"]) for point in few["history"]] == [set(farthest)] * 2
    assert few["latest"] == answer["latest"]


def test_a_report_is_requested_by_a_file_that_the_reporting_service_looks_for(client, home):
    answer = client.post("/reports")

    assert answer.status_code == 202
    requested = (home.places.data / "reports" / "requested").read_text()
    assert answer.json() == {"requested_at": requested}
    assert datetime.fromisoformat(requested) <= datetime.now(UTC)
