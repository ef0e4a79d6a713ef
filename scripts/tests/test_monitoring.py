"""One look at production: what it says, where it is kept, and that the files tell the same."""

import json
import math
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
import requests
from scipy.stats import wasserstein_distance
from sklearn.metrics import balanced_accuracy_score, f1_score, precision_score, recall_score

from boucle.contract import Category, Classes, Contract, Number, Quantity
from boucle.demo import draw
from boucle.errors import ModelNotFound, NotReported
from boucle.monitoring.observation import Observation
from boucle.monitoring.observe import data_quality, distribution, estimated_accuracy, scores
from boucle.monitoring.observer import Observer
from boucle.monitoring.reports import check_reportable, last_report, request_report, wait_for_report
from boucle.monitoring.windows import Row, read_windows
from boucle.store.observations import MOST
from tests.support import on_each_database, serving

NOW = datetime(2026, 11, 20, tzinfo=UTC)
SHIFT = 0.15


def observer(home):
    return Observer(home.project, home.places.data, home.artifacts, home.store)


def use(url, home, rows, shift=0.0, labelled=None, seed=0):
    """Predictions over HTTP, and the true values of the first ``labelled`` of them."""
    records, labels = draw(home.preparation, rows, shift, np.random.default_rng(seed))
    session = requests.Session()
    answers = [session.post(f"{url}/predict", json=record).json() for record in records]
    for answer, label in list(zip(answers, labels, strict=True))[:labelled]:
        body = {"prediction_id": answer["prediction_id"], "target": label}
        assert session.post(f"{url}/feedback", json=body).status_code == 201


@pytest.fixture(scope="module")
def used(shared_home):
    """A project whose API was used: usual rows, then a shift, then predictions whose labels are not there yet."""
    shared_home.write(shared_home.places.project.read_text().replace("k = 50", "k = 0"))
    with serving(shared_home, workers=1) as url:
        use(url, shared_home, 100)
        use(url, shared_home, 100, SHIFT, seed=1)
        use(url, shared_home, 40, SHIFT, labelled=0, seed=2)
    return shared_home


@pytest.fixture(scope="module")
def seen(used):
    return observer(used).look(NOW)


def csv(home, name):
    return pd.read_csv(home.places.data / "monitoring" / f"{name}.csv", float_precision="round_trip")


def test_the_windows_are_the_newest_predictions_and_the_newest_labels(used, seen):
    served, labelled = csv(used, "served"), csv(used, "labelled")

    assert (seen.served.rows, seen.labelled.rows) == (len(served), len(labelled)) == (240, 200)
    assert (seen.labelled.first_row, seen.labelled.last_row) == (1, 200)
    assert served["boucle.prediction_id"].is_monotonic_increasing
    assert served["boucle.target"].isna().sum() == 40
    assert seen.labels.coverage == 200 / 240
    assert 0 < seen.labels.delay_seconds["0.5"] < seen.labels.delay_seconds["0.95"] < 60
    assert len(csv(used, "reference")) == len(used.preparation.labels)
    assert len(csv(used, "held_out")) == len(used.preparation.test_labels)


def test_the_scores_are_those_of_the_labelled_rows_in_the_file_and_in_prod_data(used, seen):
    for rows in (
        csv(used, "labelled").rename(columns=lambda name: name.removeprefix("boucle.")),
        pd.read_csv(used.prod_data),
    ):
        truth, answers = rows["target"], rows["prediction"]
        again = {
            "accuracy": (truth == answers).mean(),
            "balanced_accuracy": balanced_accuracy_score(truth, answers),
            "f1": f1_score(truth, answers, average="macro"),
            "precision": precision_score(truth, answers, average="macro"),
            "recall": recall_score(truth, answers, average="macro"),
        }
        assert seen.quality == pytest.approx(again)


def test_what_is_expected_is_how_the_champion_does_on_rows_it_never_saw(used, seen):
    rows = csv(used, "held_out")

    assert seen.expected["balanced_accuracy"] == pytest.approx(
        balanced_accuracy_score(rows["boucle.target"], rows["boucle.prediction"])
    )
    assert seen.expected == pytest.approx(
        {name: used.artifacts.manifest("v1").metrics["held-out test rows"][name] for name in seen.expected}
    )


def test_the_drift_of_a_column_can_be_computed_again_from_the_files(used, seen):
    reference, served = csv(used, "reference"), csv(used, "served")

    assert seen.drift.drifted
    assert seen.drift.share == np.mean([column.drifted for column in seen.drift.columns])
    for column in seen.drift.columns:
        before, now = reference[column.column], served[column.column]
        distance = wasserstein_distance(before, now) / before.std(ddof=0)
        assert column.statistics["wasserstein"] == pytest.approx(distance)
        # What chance alone moves it is taken off, which is little of a large move.
        assert column.size <= distance
        assert column.size > 0.9 * distance - 0.1
    assert [column.size for column in seen.drift.columns] == sorted((c.size for c in seen.drift.columns), reverse=True)


def test_predictions_move_with_the_population_and_true_values_do_not(seen):
    assert seen.drift.prediction.drifted
    assert not seen.drift.target.drifted
    assert seen.drift.joint.drifted


def test_the_change_of_the_error_is_found_near_the_row_where_it_changed(seen):
    assert seen.drift.concept.changed
    assert 95 <= seen.drift.concept.row <= 140
    assert seen.drift.concept.before < seen.drift.concept.after
    assert seen.complaint.startswith("balanced accuracy fell from 0.9")


def test_a_fall_shows_before_its_labels_come(used, seen):
    assert seen.estimated_accuracy < seen.expected["accuracy"]


def test_predictions_are_counted_by_class(used, seen):
    shares = csv(used, "served")["boucle.prediction"].value_counts(normalize=True)

    assert seen.predictions == pytest.approx(shares.to_dict())


def test_values_outside_of_what_the_reference_showed_are_counted_by_column(used, seen):
    served = csv(used, "served")
    limits = {feature.name: (feature.minimum, feature.maximum) for feature in used.preparation.contract.features}

    assert seen.data_quality
    for one in seen.data_quality:
        low, high = limits[one.column]
        assert (one.minimum, one.maximum) == (low, high)
        assert one.out_of_range == int((~served[one.column].between(low, high)).sum())


def test_a_look_is_kept_in_the_store_and_beside_its_rows(used, seen):
    kept = used.store.observations.newest()
    beside = (used.places.data / "monitoring" / "observation.json").read_text()

    assert Observation.model_validate_json(kept.content) == seen == Observation.model_validate_json(beside)
    assert json.loads(kept.point) == seen.point.model_dump()
    assert seen.point.sizes[seen.drift.columns[0].column] == seen.drift.columns[0].size


def test_nothing_new_is_not_looked_at_again_and_a_promotion_is_news(used):
    watching = observer(used)
    assert watching.look(NOW)

    assert watching.look(NOW) is None
    used.artifacts.promote("v1", replacing="v1", reason="again", actor="test")
    assert watching.look(NOW) is None  # it was the champion already
    assert watching.last().model_version == "v1"


def test_without_a_champion_there_is_nothing_to_look_at(home):
    home.artifacts.pointer_path.unlink()

    with pytest.raises(ModelNotFound):
        observer(home).look(NOW)


def test_before_anything_was_asked_there_are_expectations_and_no_verdict(home):
    seen = observer(home).look(NOW)

    assert (seen.served.rows, seen.quality, seen.drift, seen.complaint, seen.predictions) == (0, {}, None, None, {})
    assert seen.expected["balanced_accuracy"] > 0.9
    assert seen.labels.coverage is None


def test_rows_of_a_contract_that_changed_since_are_left_out(used, tmp_path):
    watching = observer(used)
    prepared = used.preparation
    described = prepared.contract.model_dump()
    narrow = Contract.model_validate({**described, "features": described["features"][:-1]})
    assert read_windows(used.store, narrow, 500).served == []
    assert len(read_windows(used.store, prepared.contract, 500).served) == 240
    assert watching.look(NOW)


@on_each_database
def test_a_history_grows_sparser_with_age_and_never_beyond_its_limit(home):
    observations = home.store.observations
    for number in range(MOST + 300):
        observations.add(json.dumps(number), "{}")

    points = [json.loads(point) for point in observations.points(10_000)]

    assert len(points) <= MOST
    assert (points[0], points[-1]) == (0, MOST + 299)
    assert points == sorted(points)
    assert points[-500:] == list(range(MOST - 200, MOST + 300))
    few = [json.loads(point) for point in observations.points(50)]
    assert len(few) <= 50
    assert few[-1] == points[-1]
    assert set(few) < set(points)


def rows(pairs, confidences=None):
    return [
        Row({}, answer, truth, confidence=confidence)
        for (truth, answer), confidence in zip(pairs, confidences or [None] * len(pairs), strict=True)
    ]


def test_the_errors_of_a_quantity_with_true_values_of_zero():
    target = Quantity(name="count", integer=True, minimum=0, maximum=9, median=1)

    found = scores(target, rows([(0.0, 1.0), (2.0, 1.0), (4.0, 4.0)]))

    assert found == pytest.approx({"mae": 2 / 3, "rmse": math.sqrt(2 / 3), "r2": 0.75, "mape": 0.25})
    assert "r2" not in scores(target, rows([(1.0, 1.0)]))
    assert scores(target, []) == {}


def test_quantities_are_told_by_quantiles():
    target = Quantity(name="count", integer=True, minimum=0, maximum=9, median=1)

    assert distribution(target, [float(value) for value in range(101)]) == {"0.05": 5.0, "0.5": 50.0, "0.95": 95.0}


def test_an_estimate_is_what_the_model_was_right_on_when_it_was_so_sure():
    held_out = rows([("a", "a")] * 90 + [("b", "a")] * 10, [0.99] * 100) + rows(
        [("a", "a")] * 60 + [("b", "a")] * 40, [0.55] * 100
    )

    assert estimated_accuracy(held_out, rows([(None, "a")] * 60, [0.99] * 60)) == pytest.approx(0.9)
    assert estimated_accuracy(held_out, rows([(None, "a")] * 60, [0.55] * 60)) == pytest.approx(0.6)
    assert estimated_accuracy(held_out, rows([(None, "a")] * 60)) is None


def test_missing_and_new_values_are_counted():
    contract = Contract(
        features=(
            Number(name="size", nullable=True, integer=False, minimum=0, maximum=1, median=0.5),
            Category(name="color", nullable=True, categories=("blue", "red")),
        ),
        target=Classes(name="kind", classes=("a", "b")),
        example={},
    )
    records = [{"size": 0.5, "color": "red"}, {"size": None, "color": "pink"}, {"size": 1.5, "color": None}]

    found = {one.column: (one.missing, one.out_of_range, one.new_category) for one in data_quality(contract, records)}

    assert found == {"size": (1, 1, 0), "color": (1, 0, 1)}
    assert data_quality(contract, records[:1]) == []


def test_a_report_that_cannot_come_is_refused_at_once(home):
    with pytest.raises(NotReported, match="was not looked at yet"):
        check_reportable(home.places.data)

    observer(home).look(NOW)
    with pytest.raises(NotReported, match="0 predictions are too few for a report: make 50"):
        check_reportable(home.places.data)


def test_where_enough_was_seen_a_report_is_waited_for(used, seen):
    check_reportable(used.places.data)
    asked = request_report(used.places.data)
    with pytest.raises(NotReported, match="does the reporting service run"):
        wait_for_report(used.places.data, asked, 0.1)

    snapshots = used.places.data / "reports" / "project" / "snapshots"
    snapshots.mkdir(parents=True)
    (snapshots / "one.json").write_text("{}")
    wait_for_report(used.places.data, asked, 0.1)

    assert last_report(used.places.data) > asked
