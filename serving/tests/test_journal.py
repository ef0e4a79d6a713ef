import threading
import time

import anyio
from sqlalchemy.exc import OperationalError

from boucle.store import PredictionSource
from boucle.store.chunks import unpack
from serving import metrics
from serving.journal import BATCH, FLUSH_SECONDS, Journal
from tests.support import new_id, on_each_database, wait_for

FIRST = PredictionSource("v1", "champion", ("x",), ("a", "b"))
SECOND = PredictionSource("v2", "champion", ("x",), ())


class Log:
    """A prediction log that can be away, and then may or may not have stored what it was given."""

    def __init__(self):
        self.chunks, self.away = {}, threading.Event()
        self.stores_and_fails = False
        self.asked = 0

    def add(self, chunks):
        self.asked += 1
        if not self.away.is_set() or self.stores_and_fails:
            for chunk in chunks:
                self.chunks.setdefault(chunk.first_id, chunk)
        if self.away.is_set():
            raise OperationalError("insert", {}, Exception("away"))

    @property
    def identifiers(self):
        logged = [unpack(chunk.source, chunk.content, chunk.created_at) for chunk in self.chunks.values()]
        return [prediction.prediction_id for chunk in logged for prediction in chunk]


def put(journal, rows, source=FIRST):
    """Identifiers of as many predictions, given one by one."""
    given = [new_id() for _ in range(rows)]
    for identifier in given:
        journal.put(source, identifier, 0.001, (1.0,), "a", [0.75, 0.25])
    return given


def dropped():
    return metrics.JOURNAL_DROPS._value.get()


def test_what_is_queued_is_stored_and_all_of_it_at_the_stop():
    log = Log()
    journal = Journal(log, capacity=10_000)
    journal.start()

    given = put(journal, 5_000)
    journal.stop()

    assert sorted(log.identifiers) == sorted(given)


def test_a_log_that_is_away_costs_nothing_until_the_queue_is_full():  # F5
    log, before = Log(), dropped()
    log.away.set()
    journal = Journal(log, capacity=100)
    journal.start()
    given = put(journal, 150)

    log.away.clear()

    wait_for(lambda: len(log.identifiers) == 100, "the backlog")
    assert sorted(log.identifiers) == sorted(given[:100])
    assert dropped() - before == 50
    journal.stop()


def test_a_database_that_is_away_is_not_asked_again_and_again_however_much_waits():
    log = Log()
    log.away.set()
    journal = Journal(log, capacity=2 * BATCH)
    given = put(journal, 2 * BATCH)
    journal.start()

    time.sleep(3.5 * FLUSH_SECONDS)

    assert log.asked <= 5
    log.away.clear()
    journal.stop()
    assert sorted(log.identifiers) == sorted(given)


def test_what_was_stored_by_a_commit_that_seemed_to_fail_is_neither_lost_nor_doubled():
    log = Log()
    log.stores_and_fails = True
    log.away.set()
    journal = Journal(log, capacity=10_000)
    journal.start()
    given = put(journal, 300)
    wait_for(lambda: len(log.identifiers) >= 300, "the first attempt")

    given += put(journal, 300)  # they must not hide behind the first ones
    log.away.clear()
    journal.stop()

    assert sorted(log.identifiers) == sorted(given)


@on_each_database
def test_predictions_of_two_versions_by_turns_are_logged_under_their_own(home):
    journal = Journal(home.store.predictions, capacity=10_000)
    given = [(source, put(journal, 3, source)) for source in (FIRST, SECOND, FIRST, SECOND)]

    journal.flush()

    for source, identifiers in given:
        found = [home.store.predictions.find(identifier) for identifier in identifiers]
        assert {(one.model_version, tuple(one.probabilities)) for one in found} == {
            (source.model_version, source.classes)
        }


def test_a_batch_that_waits_for_room_is_logged_whole_however_long_it_is():
    log, before = Log(), dropped()
    journal = Journal(log, capacity=1_000)
    journal.start()

    async def batch():
        for _ in range(60):
            await journal.room()
            journal.put_many(FIRST, [(new_id(), 0.001, (1.0,), "a", [0.75, 0.25]) for _ in range(500)])

    anyio.run(batch)
    journal.stop()

    assert (len(log.identifiers), dropped() - before) == (30_000, 0)


def test_single_predictions_and_batches_share_the_room_of_the_queue():
    log, before = Log(), dropped()
    journal = Journal(log, capacity=100)

    journal.put_many(FIRST, [(new_id(), 0.001, (1.0,), "a", [0.75, 0.25]) for _ in range(90)])
    put(journal, 20)
    journal.flush()

    assert (len(log.identifiers), dropped() - before) == (100, 10)


def test_while_the_database_is_away_no_batch_waits_for_it():
    log, before = Log(), dropped()
    log.away.set()
    journal = Journal(log, capacity=100)
    journal.start()
    put(journal, 100)

    anyio.run(journal.room)

    journal.put_many(FIRST, [(new_id(), 0.001, (1.0,), "a", [0.75, 0.25]) for _ in range(30)])
    assert dropped() - before == 30
    log.away.clear()
    journal.stop()
    assert len(log.identifiers) == 100


def test_what_no_json_holds_is_dropped_and_the_log_goes_on():
    log, before = Log(), dropped()
    journal = Journal(log, capacity=100)
    journal.put(FIRST, new_id(), 0.001, (object(),), "a", [0.75, 0.25])
    journal.flush()

    given = put(journal, 1)
    journal.flush()

    assert (log.identifiers, dropped() - before) == (given, 1)


def test_whatever_the_database_raises_the_log_goes_on(monkeypatch):
    log, failures = Log(), [RuntimeError("nobody expected it"), MemoryError()]
    add = log.add

    def fail_first(chunks):
        if failures:
            raise failures.pop()
        add(chunks)

    monkeypatch.setattr(log, "add", fail_first)
    journal = Journal(log, capacity=100)
    journal.start()

    given = put(journal, 60)

    wait_for(lambda: len(log.identifiers) == 60, "the log to go on")
    assert sorted(log.identifiers) == sorted(given)
    journal.stop()
