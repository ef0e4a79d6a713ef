"""What Prometheus reads: real numbers of a real store, and silence rather than old numbers."""

import pytest
import requests
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.exc import OperationalError

from boucle.store import Feedback
from monitoring.exporter.metrics import LoopCollector
from tests.support import free_port, process, wait_for


def scrape(home):
    registry = CollectorRegistry()
    registry.register(LoopCollector(home.store, home.artifacts))
    return parse(generate_latest(registry).decode())


def parse(text):
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def fed(home):
    champion = home.artifacts.load_champion()
    home.store.feedback.use(champion.embedding)
    record = home.preparation.test_records[0]
    vector = champion.embedding.vectors([record])[0]
    items = [Feedback(str(number), record, vector, "benign", "benign", "v1") for number in range(60)]
    home.store.feedback.add(items, champion.embedding.id)
    return home


def test_the_numbers_are_those_of_the_store_and_the_artifacts(fed):
    fed.store.runs.request("manual")

    numbers = scrape(fed)

    assert numbers["boucle_feedback_rows", ()] == 60
    assert numbers["boucle_feedback_rows_to_next_retraining", ()] == 40
    assert numbers["boucle_training_runs", (("state", "requested"), ("verdict", ""))] == 2
    champion = (("algorithm", "logistic_regression"), ("previous", ""), ("version", "v1"))
    assert numbers["boucle_champion_info", champion] == 1
    assert 0 < numbers["boucle_champion_age_seconds", ()] < 3600
    assert numbers["boucle_model_versions", ()] == 1


def test_a_run_is_counted_by_its_verdict(fed):
    fed.trainer.carry_out_next()

    numbers = scrape(fed)

    verdict = fed.store.runs.get(1).verdict
    assert numbers["boucle_training_runs", (("state", "finished"), ("verdict", verdict))] == 1


def test_a_source_that_is_away_gives_no_old_numbers_and_is_named(home, monkeypatch):
    class Away:
        def rows(self):
            raise OperationalError("SELECT", {}, Exception("the database is away"))

    class Store:
        feedback = Away()

    registry = CollectorRegistry()
    registry.register(LoopCollector(Store(), home.artifacts))
    numbers = parse(generate_latest(registry).decode())

    assert numbers["boucle_exporter_source_up", (("source", "store"),)] == 0
    assert numbers["boucle_exporter_source_up", (("source", "artifacts"),)] == 1
    assert not any(name.startswith("boucle_feedback") for name, _ in numbers)
    assert any(name == "boucle_champion_info" for name, _ in numbers)


def test_without_a_champion_the_artifacts_are_said_to_be_away(home):
    home.artifacts.pointer_path.unlink()

    numbers = scrape(home)

    assert numbers["boucle_exporter_source_up", (("source", "artifacts"),)] == 0


def test_the_process_answers_over_http_and_ends_on_a_signal(home):
    port = free_port()
    environment = home.environment(EXPORTER_PORT=str(port))
    with process(["-m", "monitoring.exporter"], environment, home.folder / "exporter.log") as running:
        url = f"http://127.0.0.1:{port}/metrics"

        def answer():
            try:
                return requests.get(url, timeout=5)
            except requests.ConnectionError:
                return None

        text = wait_for(answer, "the exporter").text
        running.terminate()
        assert running.wait(10) == 0

    assert "boucle_feedback_rows 0.0" in text


def test_where_no_number_of_rows_requests_a_run_none_are_missing(fed):
    fed.write(fed.places.project.read_text().replace("k = 50", "k = 0"))

    numbers = scrape(fed)

    assert numbers["boucle_feedback_rows", ()] == 60
    assert ("boucle_feedback_rows_to_next_retraining", ()) not in numbers
