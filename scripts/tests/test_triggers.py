"""What requests a run, how often, and what it says of the reason."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import sqlalchemy as sa

from boucle.demo import draw
from boucle.store import Feedback
from boucle.triggers import Triggers
from tests.support import PROJECT, on_each_database, predicted

SHIFT = 0.15
NOW = datetime(2100, 1, 1, 12, 30, tzinfo=UTC)

DRIFT = "[triggers.drift]\nenabled = true\nwindow = 50\n"
METRIC = "[triggers.metric]\nenabled = true\nwindow = 50\n"
SCHEDULE = '[triggers.schedule]\ncron = "0 * * * *"\n'


@pytest.fixture
def home(home):
    """A trained project in which no number of rows requests a run."""
    home.write(PROJECT.replace("k = 50", "k = 0"))
    return home


def with_triggers(home, sections):
    home.write(PROJECT.replace("k = 50", "k = 0") + sections)
    return triggers(home)


def triggers(home):
    """As a trainer that has just started makes them."""
    return Triggers(home.project, home.places.data, home.artifacts, home.store)


def give(home, rows, shift=0.0, right=1.0, seed=0):
    """Feedback of which a share of ``right`` was predicted right, for rows that have moved by ``shift``."""
    champion, store = home.artifacts.load_champion(), home.store
    store.feedback.use(champion.embedding)
    random = np.random.default_rng([seed, store.feedback.rows()])
    records, labels = draw(home.preparation, rows, shift, random)
    vectors = champion.embedding.vectors(records)
    classes, first = champion.contract.target.classes, store.feedback.rows()
    items = [
        Feedback(
            prediction_id=f"{first + number}",
            input=record,
            vector=vector,
            target=label,
            prediction=label if random.random() < right else next(other for other in classes if other != label),
            model_version=champion.version,
        )
        for number, (record, vector, label) in enumerate(zip(records, vectors, labels, strict=True))
    ]
    return store.feedback.add(items, champion.embedding.id)


def end(home, run):
    """The run ends without a promotion."""
    claimed = home.store.runs.claim("test", 60)
    assert claimed.id == run.id
    home.store.runs.finish(claimed, "test", "finished", {}, verdict="rejected")


def test_with_k_0_no_number_of_rows_requests_a_run(home):
    receipts = give(home, 120)

    assert {(receipt.run_id, receipt.rows_to_next_retraining) for receipt in receipts} == {(None, None)}
    assert home.store.feedback.rows_to_next_retraining() is None
    assert home.store.runs.newest(1) == []


def test_triggers_that_are_off_request_nothing(home):
    give(home, 200, shift=10 * SHIFT, right=0.0)

    assert triggers(home).check(NOW) is None


@on_each_database
def test_drift_requests_a_run_that_says_which_column_moved_how_far(home):
    watching = with_triggers(home, DRIFT)
    give(home, 100)
    assert watching.check(NOW) is None
    give(home, 50, SHIFT)
    assert watching.check(NOW) is None  # once is not yet twice in five
    give(home, 50, SHIFT)

    run = watching.check(NOW)

    assert (run.trigger, run.state) == ("drift", "requested")
    assert "standard deviations, and " in run.trigger_reason
    assert run.trigger_reason.endswith("in at least 2 of the last 5 windows of 50 rows")
    assert home.store.runs.get(run.id).trigger_reason == run.trigger_reason


def test_while_a_run_waits_nothing_more_is_requested_and_nothing_is_overlooked(home):
    watching = with_triggers(home, DRIFT)
    waiting = home.store.runs.request("manual")
    give(home, 100, SHIFT)

    assert watching.check(NOW) is None
    end(home, waiting)
    assert watching.check(NOW).trigger == "drift"


def test_a_drift_that_no_challenger_wins_on_requests_runs_ever_more_rarely_also_across_restarts(home):
    watching = with_triggers(home, DRIFT)
    requested = []

    for window in range(1, 22):
        give(home, 50, SHIFT)
        watching = triggers(home) if window % 4 == 0 else watching
        run = watching.check(NOW)
        if run:
            requested.append(window)
            end(home, run)

    assert requested == [2, 10, 20]


def test_a_drift_that_the_champion_has_learnt_is_none_any_more_and_the_next_one_is_found(home):
    watching = with_triggers(home, DRIFT)
    give(home, 200)
    give(home, 100, SHIFT, right=0.5)
    assert watching.check(NOW).trigger == "drift"
    assert home.trainer.carry_out_next().verdict == "promoted"

    for _ in range(10):
        give(home, 50, SHIFT)
        assert watching.check(NOW) is None
    give(home, 100, 3 * SHIFT)

    assert watching.check(NOW).trigger == "drift"


def test_without_labels_the_predicted_inputs_are_compared_once_for_each_champion(home):
    watching = with_triggers(home, DRIFT)
    records, _ = draw(home.preparation, 200, SHIFT, np.random.default_rng(0))
    logged = [
        predicted("v1", NOW + timedelta(milliseconds=number), record=record) for number, record in enumerate(records)
    ]
    for first, last in ((0, 50), (50, 99)):
        home.store.predictions.add(logged[first:last])
        assert watching.check(NOW) is None
    home.store.predictions.add(logged[99:100])

    run = watching.check(NOW)

    assert run.trigger == "drift"
    end(home, run)
    home.store.predictions.add(logged[100:])
    assert watching.check(NOW) is None
    assert triggers(home).check(NOW) is None


def test_answers_that_get_worse_than_they_were_request_a_run(home):
    watching = with_triggers(home, METRIC)
    for _ in range(6):
        give(home, 50, right=0.9)
        assert watching.check(NOW) is None
    give(home, 50, right=0.4)

    run = watching.check(NOW)

    assert run.trigger == "metric"
    assert run.trigger_reason.startswith("live metric: balanced accuracy fell from 0.8")
    end(home, run)
    give(home, 50, right=0.4)
    assert watching.check(NOW) is None


def test_answers_below_the_floor_request_a_run_without_any_history(home):
    watching = with_triggers(home, METRIC + "floor = 0.8\n")
    give(home, 49, right=0.6)
    assert watching.check(NOW) is None  # no verdict on less than a window
    give(home, 1, right=0.6)

    run = watching.check(NOW)

    assert run.trigger == "metric"
    assert run.trigger_reason.endswith("on the last 50 answers, below the floor 0.8")


def test_answers_of_its_predecessor_are_not_held_against_the_champion(home):
    watching = with_triggers(home, METRIC + "floor = 0.8\n")
    give(home, 50, right=0.0)
    with home.store.feedback._database.writing() as connection:
        connection.execute(sa.text("UPDATE feedback SET model_version = 'v0'"))

    assert watching.check(NOW) is None


@on_each_database
def test_a_time_of_the_schedule_requests_one_run_also_when_it_was_missed_or_the_trainer_starts_anew(home):
    watching = with_triggers(home, SCHEDULE)

    run = watching.check(NOW)  # decades of hours were missed

    assert (run.trigger, run.trigger_reason) == ("schedule", "schedule '0 * * * *': 2100-01-01T12:00+00:00")
    end(home, run)
    assert watching.check(NOW) is None
    assert triggers(home).check(NOW + timedelta(minutes=29, seconds=59)) is None
    later = watching.check(NOW + timedelta(minutes=30))
    assert later.trigger_reason.endswith("2100-01-01T13:00+00:00")


def test_a_time_before_the_champion_took_charge_is_not_made_up_for(home):
    watching = with_triggers(home, SCHEDULE)

    promoted_at = datetime.fromisoformat(home.artifacts.champion().promoted_at)

    assert watching.check(promoted_at) is None


def test_a_time_that_comes_during_a_run_is_due_after_it(home):
    watching = with_triggers(home, SCHEDULE)
    waiting = home.store.runs.request("manual")

    assert watching.check(NOW) is None
    end(home, waiting)
    assert watching.check(NOW).trigger == "schedule"


def test_without_a_champion_nothing_is_requested(home):
    watching = with_triggers(home, DRIFT + METRIC + SCHEDULE)
    home.artifacts.pointer_path.unlink()

    assert watching.check(NOW) is None


def test_while_no_window_is_full_no_row_is_read(home):
    with_triggers(home, DRIFT + METRIC)
    store = home.store
    watching = Triggers(home.project, home.places.data, home.artifacts, store)
    give(home, 149)
    watching.check(NOW)
    statements = []
    engine = store.feedback._database.engine
    sa.event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))

    watching.check(NOW)

    assert len([statement for statement in statements if statement.startswith("SELECT")]) == 2
    assert not any("input" in statement for statement in statements)
    give(home, 1)
    watching.check(NOW)
    assert any("input" in statement for statement in statements)
