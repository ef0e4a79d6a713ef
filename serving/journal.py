"""The bounded queue that writes the prediction log behind the answers."""

import logging
import threading
from collections import deque

from sqlalchemy.exc import SQLAlchemyError

from boucle.store import LoggedPrediction
from boucle.store.predictions import PredictionLog
from serving import metrics

log = logging.getLogger(__name__)

FLUSH_SECONDS = 0.1
BATCH = 2_000


class Journal:
    """Takes predictions without waiting, and stores them in batches from a thread.

    When the database is away it keeps up to ``capacity`` of them; what comes then is dropped and counted.
    """

    def __init__(self, predictions: PredictionLog, capacity: int) -> None:
        self._predictions = predictions
        self._capacity = capacity
        self._queue: deque[LoggedPrediction] = deque()
        self._flushing = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True, name="journal")

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is queued, then end."""
        self._stopped.set()
        self._thread.join()

    def put(self, prediction: LoggedPrediction) -> None:
        """Queue a prediction, or drop it when the queue is full."""
        if len(self._queue) >= self._capacity:
            metrics.JOURNAL_DROPS.inc()
            return
        self._queue.append(prediction)

    def flush(self) -> None:
        """Store everything that is queued now.

        Raises:
            SQLAlchemyError: when the database refuses; nothing is lost, the rows stay queued.
        """
        with self._flushing:
            while self._queue:
                batch = [self._queue[position] for position in range(min(BATCH, len(self._queue)))]
                self._predictions.add(batch)
                for _ in batch:
                    self._queue.popleft()

    def _write(self) -> None:
        away = False
        while not self._stopped.wait(FLUSH_SECONDS):
            metrics.JOURNAL_QUEUE.set(len(self._queue))
            try:
                self.flush()
                away = False
            except SQLAlchemyError:
                if not away:
                    log.exception("the prediction log cannot be written; %d predictions wait", len(self._queue))
                away = True
        try:
            self.flush()
        except SQLAlchemyError:
            log.exception("%d predictions were not logged", len(self._queue))
