import numpy as np
import pytest
import sqlalchemy as sa

from boucle import preparation
from boucle.artifacts import Artifacts
from boucle.demo import draw
from boucle.store import Feedback
from boucle.store.database import TRAINING_RUNS
from tests.support import PROJECT, on_each_database

SHIFT = 0.15


def give(home, rows, shift=0.0, seed=0):
    """Feedback as the demo gives it: the true class beside the champion's prediction."""
    champion, store = home.artifacts.load_champion(), home.store
    store.feedback.use(champion.embedding)
    records, labels = draw(home.preparation, rows, shift, np.random.default_rng(seed))
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


@on_each_database
def test_after_a_shift_a_challenger_wins_its_exam_and_is_promoted(home):
    store = give(home, 50, SHIFT)

    run = home.trainer.carry_out_next()

    assert (run.state, run.verdict, run.parent_version, run.version) == ("finished", "promoted", "v1", "v2")
    assert run.metrics["challenger"] > run.metrics["champion"] + 0.1
    assert run.metrics["exam_rows"] == 50
    manifest = home.artifacts.load_champion().manifest
    assert (manifest.version, manifest.parent_version, manifest.run_id, manifest.feedback_row) == ("v2", "v1", 1, 50)
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
    give(home, 50, SHIFT)
    home.trainer.carry_out_next()
    give(home, 50, SHIFT, seed=1)

    assert home.trainer.carry_out_next().metrics["exam_rows"] == 50


def test_a_run_without_new_feedback_says_so(home):
    home.store.runs.request("manual")

    run = home.trainer.carry_out_next()

    assert run.verdict == "insufficient evidence"
    assert "no feedback since v1 was trained" in run.reason


@on_each_database
def test_a_slower_older_run_cannot_undo_a_newer_champion(home, monkeypatch):  # T5
    give(home, 50, SHIFT)
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
    store = give(home, 50, SHIFT)
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
    store = give(home, 50, SHIFT)
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
    give(home, 50, SHIFT)
    home.write(PROJECT.replace("components = 5", "components = 8"))
    preparation.prepare(home.project, home.places.data, lambda _: None)

    run = home.trainer.carry_out_next()

    assert run.verdict == "promoted"
    assert len(home.artifacts.load_champion().embedding.columns) == 8


def expire(store):
    """As if the lease had run out long ago."""
    with store.runs._database.writing() as connection:
        connection.execute(sa.update(TRAINING_RUNS).values(lease_until="2020-01-01T00:00:00.000+00:00"))
