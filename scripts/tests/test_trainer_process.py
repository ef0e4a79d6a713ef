"""The trainer as a process that must outlive its surroundings."""

import threading
import time
from functools import partial

import pytest
from sqlalchemy.exc import OperationalError

from boucle.config import Places
from boucle.errors import LeaseLost
from boucle.supervision import Chore, Supervisor


class Ended(Exception):
    """Raised by the test, to leave the endless loop."""


def supervisor(home, carry_out_next, owner="me", limit=60.0, beat=lambda: None, chores=()):
    return Supervisor(home.store.runs, home.artifacts, owner, limit, carry_out_next, chores, beat)


def claim_and_sleep(home, owner):
    """A run that never ends, in the child process."""
    home.store.runs.claim(owner, lease_seconds=600)
    time.sleep(600)


def carry_out_next(home):
    home.trainer.carry_out_next()


def test_the_trainer_waits_for_a_store_that_is_away_and_its_pulse_says_so(home, monkeypatch):
    pulses, answers = [], iter(["away", "away", "back"])

    def is_due():
        pulses.append(len(beats))
        answer = next(answers, None)
        if answer == "away":
            raise OperationalError("SELECT", {}, Exception("the database is away"))
        if answer is None:
            raise Ended

    beats = []
    working = supervisor(home, lambda: None, beat=lambda: beats.append(1))
    monkeypatch.setattr(working.runs, "is_due", is_due)

    with pytest.raises(Ended):
        working.work(poll_seconds=0.01)

    assert pulses == [0, 0, 0, 1]


def test_a_run_is_carried_out_in_a_process_of_its_own(home):
    home.store.runs.request("manual")

    supervisor(home, partial(carry_out_next, home)).carry_out_one()

    assert home.store.runs.get(1).state == "finished"


def test_a_run_past_its_time_limit_is_stopped_and_can_never_promote(home):  # T6
    home.store.runs.request("manual")

    supervisor(home, partial(claim_and_sleep, home, "me"), limit=5.0).carry_out_one()

    run = home.store.runs.get(1)
    assert run.state == "failed"
    assert "training.time_limit_seconds = 5" in run.reason
    with pytest.raises(LeaseLost):  # what every trainer must pass before it promotes
        home.store.runs.renew(run, "me", 60)
    home.store.runs.request("manual")
    assert home.store.runs.is_due()


def test_chores_are_done_between_runs_and_not_more_often_than_they_should(home, monkeypatch):
    done, polls = [], iter(range(5))

    def is_due():
        if next(polls, None) is None:
            raise Ended
        return False

    chores = [Chore(0.0, lambda: done.append("often")), Chore(60.0, lambda: done.append("once"))]
    working = supervisor(home, lambda: None, chores=chores)
    monkeypatch.setattr(working.runs, "is_due", is_due)

    with pytest.raises(Ended):
        working.work(poll_seconds=0.01)

    assert done.count("often") == 5
    assert done.count("once") == 1


def test_a_chore_that_fails_ends_no_training(home, monkeypatch):
    polls, tried = iter(range(3)), []

    def is_due():
        if next(polls, None) is None:
            raise Ended
        return False

    def stumble():
        tried.append(1)
        raise ValueError("odd data")

    working = supervisor(home, lambda: None, chores=[Chore(0.0, stumble), Chore(0.0, lambda: tried.append(2))])
    monkeypatch.setattr(working.runs, "is_due", is_due)

    with pytest.raises(Ended):
        working.work(poll_seconds=0.01)

    assert tried == [1, 2] * 3


def test_a_run_that_meets_an_outage_of_the_store_is_carried_out_later(home, monkeypatch):
    home.store.feedback.use(home.artifacts.load_champion().embedding)
    home.store.runs.request("manual")
    trainer = home.trainer
    object.__setattr__(trainer, "lease_seconds", 0.2)
    labelled = trainer.store.feedback.labelled

    def away(embedding, before):
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

    # pragma: allowlist nextline secret
    assert places.database == "postgresql+psycopg://boucle:p%40ss%2Fw%3Ard%25@postgres/boucle"
    assert "p@ss" not in repr(places)


def test_without_a_database_url_the_store_is_a_file(tmp_path):
    assert Places(data=tmp_path, database_password_file=tmp_path / "none").database == f"sqlite:///{tmp_path}/boucle.db"
