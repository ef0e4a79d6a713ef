import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from boucle import preparation
from boucle.artifacts import Artifacts
from boucle.demo import draw
from boucle.store import Feedback
from boucle.store.database import TRAINING_RUNS
from tests.support import PROJECT, Home, on_each_database

SHIFT = 0.15


# A network that never leaves its first weights.
NOTHING_LEARNT = """
[training.parameters.mlp]
max_iter = 1
learning_rate_init = 1e-9
"""


def give(home, rows, shift=0.0, seed=0, truth=lambda label: label, record=lambda record: record):
    """Feedback as the demo gives it: the true value beside the champion's prediction."""
    champion, store = home.artifacts.load_champion(), home.store
    store.feedback.use(champion.embedding)
    records, labels = draw(home.preparation, rows, shift, np.random.default_rng(seed))
    records, labels = [record(one) for one in records], [truth(label) for label in labels]
    first = store.feedback.rows()
    items = [
        Feedback(
            f"{first + number}",
            record,
            champion.embedding.vectors([record])[0],
            label,
            champion.predict(record),
            champion.version,
        )
        for number, (record, label) in enumerate(zip(records, labels, strict=True))
    ]
    store.feedback.add(items, champion.embedding.id)
    return store


def give_new_class(home, identifiers):
    """Feedback as the API stores it when the label is no class yet: far away from the others."""
    champion, store = home.artifacts.load_champion(), home.store
    far = {name: 3 * value for name, value in home.preparation.test_records[0].items()}
    records = [{**far, "mean radius": far["mean radius"] + number / 100} for number in range(len(identifiers))]
    items = [
        Feedback(
            identifier,
            record,
            champion.embedding.vectors([record])[0],
            "borderline",
            champion.predict(record),
            champion.version,
            set_aside="no class yet",
        )
        for identifier, record in zip(identifiers, records, strict=True)
    ]
    store.feedback.add(items, champion.embedding.id)


@on_each_database
def test_after_a_shift_a_challenger_wins_its_exam_and_is_promoted(home):
    store = give(home, 100, SHIFT)

    run = home.trainer.carry_out_next()

    assert (run.state, run.verdict, run.parent_version, run.version) == ("finished", "promoted", "v1", "v2")
    assert run.metrics["challenger"] > run.metrics["champion"] + 0.1
    assert run.metrics["exam_rows"] == run.exam.rows == 100
    manifest = home.artifacts.load_champion().manifest
    assert (manifest.version, manifest.parent_version, manifest.run_id, manifest.feedback_row) == ("v2", "v1", 1, 100)
    assert store.runs.claim("anyone", 60) is None


def test_without_a_shift_the_champion_stays_and_the_reason_is_stored(home):
    give(home, 50)

    run = home.trainer.carry_out_next()

    assert run.verdict in ("rejected", "insufficient evidence")
    assert "champion" in run.reason
    assert home.artifacts.champion_version() == "v1"


def test_exam_rows_of_a_rejected_challenger_are_examined_again(home):
    give(home, 50)
    home.trainer.carry_out_next()
    give(home, 50)

    assert home.trainer.carry_out_next().metrics["exam_rows"] == 100


def test_rows_that_a_champion_learnt_from_are_no_exam_for_it(home):
    give(home, 100, SHIFT)
    home.trainer.carry_out_next()
    give(home, 50, SHIFT, seed=1)

    assert home.trainer.carry_out_next().metrics["exam_rows"] == 50


def test_an_exam_takes_the_newest_rows_only(home):
    home.write(PROJECT + "\n[promotion]\nexam_rows = 60\n")
    give(home, 100)

    exam = home.trainer.carry_out_next().exam

    assert exam.rows == 60
    assert (exam.folds[0].first_row, exam.folds[-1].last_row) == (41, 100)


def test_a_challenger_that_lost_is_refused_with_the_reason_and_the_figures(home):  # T7
    home.write(PROJECT.replace('["logistic_regression"]', '["mlp"]\nstrategies = ["scratch"]') + NOTHING_LEARNT)
    give(home, 200)

    run = home.trainer.carry_out_next()

    assert (run.verdict, run.version) == ("rejected", None)
    assert run.exam.difference < 0
    assert run.reason.endswith("the challenger lost")
    assert home.artifacts.versions() == ["v1"]


def test_a_challenger_that_could_not_show_it_yet_is_kept_beside_the_champion(home):
    give(home, 50)

    run = home.trainer.carry_out_next()

    assert run.verdict == "insufficient evidence"
    manifest = home.artifacts.manifest(run.version)
    assert (manifest.verdict, manifest.parent_version) == ("insufficient evidence", "v1")
    assert "more rows will tell" in manifest.reason
    assert home.artifacts.champion_version() == "v1"


def test_every_exam_of_a_champion_is_a_look_of_its_own(home):
    for number in range(3):
        give(home, 50, seed=number)
        run = home.trainer.carry_out_next()

    assert run.exam.look == 3


@pytest.mark.parametrize("seed", range(3))
def test_a_poisoned_batch_leaves_the_champion_in_place(home, seed):  # T8
    random = np.random.default_rng(seed)

    def flip(label):
        return {"benign": "malignant", "malignant": "benign"}[label] if random.random() < 0.3 else label

    give(home, 100, seed=seed, truth=flip)

    run = home.trainer.carry_out_next()

    assert run.verdict in ("rejected", "insufficient evidence")
    assert home.artifacts.champion_version() == "v1"


@pytest.mark.parametrize(
    ("rows", "truth", "said"),
    [
        (3, lambda label: label, "3 exam rows are too few"),
        (60, lambda _: "benign", "all 60 exam rows are of one class"),
        (12, lambda label: label, "12 exam rows"),
    ],
)
def test_rows_that_tell_too_little_end_in_a_stated_decision(home, rows, truth, said):
    give(home, rows, truth=truth)
    home.store.runs.request("manual")

    run = home.trainer.carry_out_next()

    assert (run.state, run.verdict) == ("finished", "insufficient evidence")
    assert said in run.reason
    assert home.artifacts.champion_version() == "v1"


def test_features_that_no_longer_vary_are_no_obstacle(home):
    give(home, 100, record=lambda _: home.preparation.test_records[0])

    run = home.trainer.carry_out_next()

    assert run.state == "finished"
    assert run.verdict in ("rejected", "insufficient evidence")


def test_a_class_never_seen_before_is_kept_aside_and_learnt_when_there_are_enough_rows(home):
    given = give(home, 60, truth=lambda label: label)
    new = [f"borderline {number}" for number in range(19)]
    give_new_class(home, new)
    assert given.feedback.set_aside() == {"borderline": 19}
    assert "borderline" not in home.prod_data.read_text()

    few = home.trainer.carry_out_next()
    give_new_class(home, [f"borderline {number}" for number in range(19, 60)])
    home.store.runs.request("manual")
    enough = home.trainer.carry_out_next()

    assert few.version is None or home.artifacts.manifest(few.version).contract.target.n_classes == 2
    assert enough.verdict == "promoted", enough.reason
    champion = home.artifacts.load_champion()
    assert champion.contract.target.classes == ("benign", "malignant", "borderline")
    store = home.store
    store.feedback.use(champion.embedding)
    assert home.prod_data.read_text().count(",borderline,") == 60
    assert store.feedback.set_aside() == {}
    give(home, 50)
    assert home.trainer.carry_out_next().state == "finished"


def test_a_quantity_goes_the_same_way_round(tmp_path):
    random = np.random.default_rng(0)
    table = pd.DataFrame(random.normal(size=(400, 3)), columns=["a", "b", "c"])
    table["price"] = 100 + 20 * table["a"] + random.normal(size=400)
    home = Home(tmp_path / "home").write(
        PROJECT.replace("sklearn:breast_cancer", str(tmp_path / "t.csv"))
        .replace('target = "diagnosis"', 'target = "price"')
        .replace("components = 5", 'components = "all"')
        .replace('candidates = ["logistic_regression"]', 'candidates = ["ridge", "random_forest"]')
    )
    table.to_csv(tmp_path / "t.csv", index=False)
    home.train()
    assert home.artifacts.manifest("v1").metrics["held-out test rows"].keys() == {"mae", "rmse", "r2"}

    give(home, 100, truth=lambda price: price + 30)  # everything became dearer
    run = home.trainer.carry_out_next()

    assert run.verdict == "promoted", run.reason
    assert run.exam.metric == "mae"
    assert run.metrics["challenger"] < run.metrics["champion"]
    assert run.exam.difference > 0.1  # the share of the error that is saved
    row = home.prod_data.read_text().splitlines()[1].split(",")
    assert float(row[-2]) > 100
    assert isinstance(home.artifacts.load_champion().predict(home.preparation.test_records[0]), float)


def test_a_run_without_new_feedback_says_so(home):
    home.store.runs.request("manual")

    run = home.trainer.carry_out_next()

    assert run.verdict == "insufficient evidence"
    assert "no feedback since v1 was trained" in run.reason


@on_each_database
def test_a_slower_older_run_cannot_undo_a_newer_champion(home, monkeypatch):  # T5
    give(home, 100, SHIFT)
    publish = Artifacts.publish

    def publish_while_another_is_promoted(artifacts, manifest, contents):
        rival = publish(artifacts, manifest, contents)
        artifacts.promote(rival.version, replacing="v1", reason="a faster run", actor="run 2")
        return publish(artifacts, manifest, contents)

    monkeypatch.setattr(Artifacts, "publish", publish_while_another_is_promoted)
    run = home.trainer.carry_out_next()

    assert run.verdict == "superseded"
    assert "v2 is the champion by now, not v1" in run.reason
    assert home.artifacts.champion_version() == "v2"


@on_each_database
def test_a_trainer_that_lost_its_lease_publishes_nothing(home, monkeypatch):  # T6
    store = give(home, 100, SHIFT)
    publish = Artifacts.publish

    def publish_after_a_long_sleep(artifacts, manifest, contents):
        expire(store)
        assert store.runs.claim("successor", 60)
        return publish(artifacts, manifest, contents)

    monkeypatch.setattr(Artifacts, "publish", publish_after_a_long_sleep)
    run = home.trainer.carry_out_next()

    assert run.state == "running"  # the successor's
    assert home.artifacts.champion_version() == "v1"


@on_each_database
def test_a_run_that_died_behind_the_pointer_is_finished_and_not_repeated(home, monkeypatch):  # F2
    store = give(home, 100, SHIFT)
    trainer = home.trainer
    monkeypatch.setattr(type(trainer), "_finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        trainer.carry_out_next()
    monkeypatch.undo()
    expire(store)

    run = home.trainer.carry_out_next()

    assert (run.verdict, run.version, run.attempts) == ("promoted", "v2", 2)
    assert home.artifacts.versions() == ["v1", "v2"]


def test_a_champion_of_another_target_stops_the_run_with_the_remedy(home):
    store = give(home, 50)
    source = home.places.data / "raw" / "other.csv"
    home.write(
        PROJECT.replace("sklearn:breast_cancer", str(source)).replace(
            "[embedding]", 'query = "SELECT * REPLACE (upper(diagnosis) AS diagnosis) FROM source"\n[embedding]'
        )
    )
    source.write_bytes((home.places.data / "raw" / "breast_cancer.csv").read_bytes())
    preparation.prepare(home.project, home.places.data, lambda _: None)

    run = home.trainer.carry_out_next()

    assert run.state == "failed"
    assert "run make train" in run.reason
    assert store.runs.newest(1)[0] == run


def test_a_new_embedding_examines_the_champion_on_its_own_vectors(home):
    give(home, 100, SHIFT)
    home.write(PROJECT.replace("components = 5", "components = 8"))
    preparation.prepare(home.project, home.places.data, lambda _: None)

    run = home.trainer.carry_out_next()

    assert run.verdict == "promoted"
    assert len(home.artifacts.load_champion().embedding.columns) == 8


def expire(store):
    """As if the lease had run out long ago."""
    with store.runs._database.writing() as connection:
        connection.execute(sa.update(TRAINING_RUNS).values(lease_until="2020-01-01T00:00:00.000+00:00"))
