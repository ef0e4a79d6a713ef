import threading

from sqlalchemy.exc import OperationalError

from boucle.store import LoggedPrediction
from serving.journal import Journal
from tests.support import wait_for


class Log:
    """A prediction log that can be away."""

    def __init__(self):
        self.rows, self.away = [], threading.Event()

    def add(self, predictions):
        if self.away.is_set():
            raise OperationalError("insert", {}, Exception("away"))
        self.rows.extend(predictions)


def predictions(rows):
    return [LoggedPrediction(str(number), "", "v1", {}, "a", {}, 0.0) for number in range(rows)]


def test_what_is_queued_is_stored_in_order_and_all_of_it_at_the_stop():
    log = Log()
    journal = Journal(log, capacity=10_000)
    journal.start()

    for prediction in predictions(5_000):
        journal.put(prediction)
    journal.stop()

    assert log.rows == predictions(5_000)


def test_a_log_that_is_away_costs_nothing_until_the_queue_is_full():  # F5
    log = Log()
    log.away.set()
    journal = Journal(log, capacity=100)
    journal.start()
    for prediction in predictions(150):
        journal.put(prediction)

    log.away.clear()

    wait_for(lambda: len(log.rows) == 100, "the backlog")
    assert log.rows == predictions(150)[:100]
    journal.stop()
