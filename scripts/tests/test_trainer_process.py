"""The trainer as a process that must outlive its surroundings."""

import threading

import pytest
from sqlalchemy.exc import OperationalError

from boucle.config import Places


class Ended(Exception):
    """Raised by the test, to leave the endless loop."""


def test_the_trainer_waits_for_a_store_that_is_away_and_its_pulse_says_so(home, tmp_path, monkeypatch):
    pulse, pulses, trainer = tmp_path / "pulse", [], home.trainer
    answers = iter(["away", "away", "back"])

    def claim(owner, lease_seconds):
        pulses.append(pulse.exists())
        answer = next(answers, None)
        if answer == "away":
            raise OperationalError("SELECT", {}, Exception("the database is away"))
        if answer is None:
            raise Ended

    monkeypatch.setattr(trainer.store.runs, "claim", claim)
    object.__setattr__(trainer, "pulse", pulse)

    with pytest.raises(Ended):
        trainer.work(poll_seconds=0.01)

    assert pulses == [False, False, False, True]


def test_a_run_that_meets_an_outage_of_the_store_is_carried_out_later(home, monkeypatch):
    home.store.feedback.use(home.artifacts.load_champion().embedding)
    home.store.runs.request("manual")
    trainer = home.trainer
    object.__setattr__(trainer, "lease_seconds", 0.2)
    labelled = trainer.store.feedback.labelled

    def away(embedding):
        monkeypatch.setattr(trainer.store.feedback, "labelled", labelled)
        raise OperationalError("SELECT", {}, Exception("the database is away"))

    monkeypatch.setattr(trainer.store.feedback, "labelled", away)
    with pytest.raises(OperationalError):
        trainer.carry_out_next()
    assert trainer.store.runs.get(1).state == "running"
    threading.Event().wait(0.3)

    run = trainer.carry_out_next()

    assert (run.attempts, run.state) == (2, "finished")


def test_the_password_of_the_database_comes_from_a_file_and_any_character_survives(tmp_path):
    (tmp_path / "password").write_text("p@ss/w:rd%\n")
    places = Places(
        database_url="postgresql+psycopg://boucle@postgres/boucle", database_password_file=tmp_path / "password"
    )

    assert places.database == "postgresql+psycopg://boucle:p%40ss%2Fw%3Ard%25@postgres/boucle"
    assert "p@ss" not in repr(places)


def test_without_a_database_url_the_store_is_a_file(tmp_path):
    assert Places(data=tmp_path, database_password_file=tmp_path / "none").database == f"sqlite:///{tmp_path}/boucle.db"
