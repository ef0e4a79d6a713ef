"""What Prometheus reads: real numbers of a real store, and silence rather than old numbers."""

import socket
import threading
from datetime import UTC, datetime

import pytest
import requests
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.exc import OperationalError

from boucle.etl.status import SourceStatus, write_loads
from boucle.monitoring.observation import (
    ColumnDrift,
    ColumnQuality,
    Drift,
    LabelledRows,
    Labels,
    Observation,
    Served,
)
from boucle.monitoring.observer import Observer
from boucle.store import Feedback
from monitoring.exporter.families import MOST_COLUMNS, of_drift, of_observation
from monitoring.exporter.metrics import LoopCollector
from monitoring.exporter.parts import Parts
from monitoring.exporter.watch import Watch
from tests.support import answers, free_port, process, wait_for


def watch(home):
    return Watch(Observer(home.project, home.places.data, home.artifacts, home.store), home.artifacts, 60)


def scrape(home, watching=None, parts=None):
    registry = CollectorRegistry()
    registry.register(
        LoopCollector(home.store, home.artifacts, home.places.data, watching or watch(home), parts or Parts({}, 60))
    )
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
    assert 0 <= numbers["boucle_feedback_age_seconds", ()] < 60
    assert 0 <= numbers["boucle_training_run_age_seconds", (("state", "requested"),)] < 60
    assert numbers["boucle_training_failures_in_a_row", ()] == 0
    free = numbers["boucle_disk_free_bytes", (("folder", "data"),)]
    assert 0 < free < numbers["boucle_disk_size_bytes", (("folder", "data"),)]
    assert numbers["boucle_model_versions", ()] == 1


def test_a_run_is_counted_by_its_verdict(fed):
    fed.trainer.carry_out_next()

    numbers = scrape(fed)

    verdict = fed.store.runs.get(1).verdict
    assert numbers["boucle_training_runs", (("state", "finished"), ("verdict", verdict))] == 1


def test_the_rows_of_every_load_are_counted_by_what_became_of_them(home):
    day = datetime(2026, 11, 20, tzinfo=UTC)
    went_well = SourceStatus(batches=2, loaded=90, quarantined=7, superseded=3, newest_at=day, succeeded_at=day)
    write_loads(home.places.data, {"sales": went_well, "shops": SourceStatus(error="shops does not answer")}, day)

    numbers = scrape(home)

    outcomes = {"loaded": 90, "quarantined": 7, "superseded": 3}
    for outcome, rows in outcomes.items():
        assert numbers["boucle_etl_rows", (("outcome", outcome), ("source", "sales"))] == rows
    assert numbers["boucle_etl_success_timestamp_seconds", (("source", "sales"),)] == day.timestamp()
    assert numbers["boucle_etl_newest_row_timestamp_seconds", (("source", "sales"),)] == day.timestamp()
    assert numbers["boucle_etl_failed", (("source", "sales"),)] == 0
    assert numbers["boucle_etl_failed", (("source", "shops"),)] == 1
    assert numbers["boucle_etl_stale", (("source", "shops"),)] == 0


def test_a_source_that_is_away_gives_no_old_numbers_and_is_named(home):
    class Away:
        def rows(self):
            raise OperationalError("SELECT", {}, Exception("the database is away"))

        def newest(self, _):
            return []

    class Store:
        feedback = runs = Away()

    registry = CollectorRegistry()
    registry.register(LoopCollector(Store(), home.artifacts, home.places.data, watch(home), Parts({}, 60)))
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


def test_every_number_of_an_observation_is_shown(fed):
    watching = watch(fed)
    watching.look()
    seen = watching.last.observation

    numbers = scrape(fed, watching)

    assert numbers["boucle_window_rows", (("window", "labelled"),)] == seen.labelled.rows == 60
    for metric, value in seen.quality.items():
        assert numbers["boucle_model_quality", (("metric", metric),)] == value
    for metric, value in seen.expected.items():
        assert numbers["boucle_model_quality_expected", (("metric", metric),)] == value
    for column in seen.drift.columns:
        label = (("column", column.column),)
        assert numbers["boucle_drift_size", label] == column.size
        assert numbers["boucle_column_drifted", label] == float(column.drifted)
    # The same row sixty times is as far from a population as can be.
    assert numbers["boucle_data_drifted", ()] == 1
    assert numbers["boucle_drifted_columns_ratio", ()] == seen.drift.share
    assert numbers["boucle_joint_drift_auc", ()] == seen.drift.joint.auc
    assert numbers["boucle_prediction_drift_size", ()] == seen.drift.prediction.size
    assert numbers["boucle_target_drifted", ()] == float(seen.drift.target.drifted)
    assert numbers["boucle_joint_drifted", ()] == float(seen.drift.joint.drifted)
    assert numbers["boucle_prediction_drifted", ()] == float(seen.drift.prediction.drifted)
    assert numbers["boucle_target_drift_size", ()] == seen.drift.target.size
    assert numbers["boucle_concept_drifted", ()] == 0
    assert numbers["boucle_quality_fallen", ()] == 0
    assert numbers["boucle_prediction_ratio", (("class", "benign"),)] == 1
    assert numbers["boucle_label_coverage_ratio", ()] == 1
    assert numbers["boucle_champion_intact", ()] == 1
    assert 0 <= numbers["boucle_observation_age_seconds", ()] < 60


def test_what_a_quantity_and_late_labels_and_odd_values_show():
    column = {"column": "age", "minimum": 18, "maximum": 95, "categories": None}
    seen = Observation(
        created_at="2026-11-20T10:00:00.000+00:00",
        model_version="v1",
        served=Served(rows=100, first_at=None, last_at=None),
        labelled=LabelledRows(rows=50, first_row=1, last_row=50),
        quality={"mae": 2.5},
        expected={"mae": 2.0},
        complaint=None,
        estimated_accuracy=0.875,
        drift=None,
        data_quality=[ColumnQuality(missing=3, out_of_range=2, new_category=0, **column)],
        predictions={"0.5": 17.5},
        labels=Labels(coverage=0.5, delay_seconds={"0.5": 60.0, "0.95": 600.0}),
    )

    numbers = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in of_observation(seen)
        for sample in family.samples
    }

    assert numbers["boucle_data_quality_cells", (("column", "age"), ("problem", "missing"))] == 3
    assert numbers["boucle_data_quality_cells", (("column", "age"), ("problem", "out_of_range"))] == 2
    assert numbers["boucle_model_quality", (("metric", "mae"),)] == 2.5
    assert numbers["boucle_label_coverage_ratio", ()] == 0.5
    assert numbers["boucle_label_delay_seconds", (("quantile", "0.95"),)] == 600
    assert numbers["boucle_model_estimated_accuracy", ()] == 0.875
    assert numbers["boucle_prediction_value", (("quantile", "0.5"),)] == 17.5


def test_a_thousand_columns_are_not_a_thousand_series():
    column = {"size": 1.0, "p_value": 0.01, "drifted": True, "kind": "number", "missing": False, "statistics": {}}
    columns = [ColumnDrift(column=f"c{number}", **column) for number in range(1_000)]
    distances = dict.fromkeys(("joint", "prediction", "target", "concept"))
    drift = Drift(share=1.0, drifted=True, effect=0.25, share_limit=0.3, columns=columns, **distances)

    families = {family.name: len(family.samples) for family in of_drift(drift)}

    assert families["boucle_drift_size"] == families["boucle_column_drifted"] == MOST_COLUMNS


def test_a_changed_file_of_the_champion_is_noticed_and_so_is_its_repair(home):
    watching = watch(home)
    watching.look()
    model = home.places.artifacts / "v1" / "model.pkl"
    content = model.read_bytes()
    model.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    watching.verify()
    assert scrape(home, watching)["boucle_champion_intact", ()] == 0

    model.write_bytes(content)
    watching.look()
    assert scrape(home, watching)["boucle_champion_intact", ()] == 1


def test_a_look_that_failed_leaves_the_last_one_and_its_age_tells(fed):
    watching = watch(fed)
    watching.look()
    before = watching.last
    fed.artifacts.pointer_path.unlink()

    watching.look()

    assert watching.last.observation == before.observation
    assert watching.last.at == before.at
    assert watching.last.is_intact is False


def test_a_part_that_does_not_answer_is_down_until_it_does(home):
    port = free_port()
    parts = Parts({"webapp": f"http://127.0.0.1:{port}/"}, 60)

    parts.ask()
    assert scrape(home, parts=parts)["boucle_part_up", (("part", "webapp"),)] == 0

    with process(["-m", "http.server", str(port), "--bind", "127.0.0.1"], home.environment(), home.folder / "http.log"):
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/"), "the part")
        parts.ask()
        assert scrape(home, parts=parts)["boucle_part_up", (("part", "webapp"),)] == 1


def test_a_part_that_speaks_no_http_is_down(home):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=lambda: listening.accept()[0].sendall(b"SSH-2.0\r\n\r\n")).start()
        parts = Parts({"webapp": f"http://127.0.0.1:{listening.getsockname()[1]}/"}, 60)
        parts.ask()

    assert parts.are_up == {"webapp": False}
