"""The bounded queue that writes the prediction log behind the answers."""

import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter

import anyio
from sqlalchemy.exc import SQLAlchemyError

from boucle.contract import Cell, Label
from boucle.pacing import breathe
from boucle.store import PredictionChunk, PredictionRow, PredictionSource
from boucle.store.chunks import CHUNK_ROWS, WrittenRow, pack, pack_unwritten, write
from boucle.store.predictions import PredictionLog
from serving import metrics

log = logging.getLogger(__name__)

FLUSH_SECONDS = 0.1
BUSY_SECONDS = 0.02
NICENESS = 10
BATCH = 5_000
ROOM_SECONDS = 0.005

_source = itemgetter(0)
_row = itemgetter(1)


class Journal:
    """Takes predictions without waiting, and stores them in batches from a thread.

    A ``kill -9`` loses what the last `FLUSH_SECONDS` and the write under way held; a stop loses nothing. When the
    database is away up to ``capacity`` predictions are kept; what comes then is dropped and counted.
    """

    def __init__(self, predictions: PredictionLog, capacity: int) -> None:
        self._predictions = predictions
        self._capacity = capacity
        # How many may be queued: the others of the capacity are in `_packed`.
        self._room = capacity
        self._queue: deque[tuple[PredictionSource, WrittenRow]] = deque()
        self._chunks: deque[PredictionChunk] = deque()  # of batches, which come packed
        self._rows_in_chunks = 0
        self._counting = threading.Lock()
        self._packed: list[PredictionChunk] = []
        self._flushing = threading.Lock()
        self._is_away = False
        self._stopped = threading.Event()
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True, name="journal")

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is queued, then end."""
        self._stopped.set()
        self._hurry.set()
        self._thread.join()

    def put(
        self,
        source: PredictionSource,
        prediction_id: str,
        latency_seconds: float,
        values: Sequence[Cell],
        prediction: Label,
        outputs: Sequence[float],
    ) -> None:
        """Queue a prediction, or drop it when the queue is full; any thread may, and none waits.

        ``values`` are in the order of the source's columns, ``outputs`` in that of its classes; of a quantity they are
        shown nowhere. All are Python's own numbers, and do not change any more.
        """
        if len(self._queue) + self._rows_in_chunks >= self._room:
            metrics.JOURNAL_DROPS.inc()
            return
        # Written here and not by the thread, which would then fight for the interpreter with those who answer.
        row = (prediction_id, latency_seconds, values, prediction, outputs)
        try:
            self._queue.append((source, write(row)))
        except (TypeError, ValueError):
            self._drop(1)

    def put_many(self, source: PredictionSource, rows: Sequence[PredictionRow]) -> None:
        """Queue the predictions of a batch, or drop those that the queue has no room for.

        Before the next ones the caller waits for `room`: then a batch of any length is logged whole.
        """
        fitting = rows[: max(0, self._room - len(self._queue) - self._rows_in_chunks)]
        if len(fitting) < len(rows):
            metrics.JOURNAL_DROPS.inc(len(rows) - len(fitting))
        try:
            chunks = list(pack_unwritten(source, fitting))
        except (TypeError, ValueError):
            self._drop(len(fitting))
            return
        with self._counting:
            self._rows_in_chunks += len(fitting)
        self._chunks.extend(chunks)

    @staticmethod
    def _drop(rows: int) -> None:  # one caller's mistake must not end the answers, nor the log
        log.exception("%d predictions cannot be logged: no JSON holds them", rows)
        metrics.JOURNAL_DROPS.inc(rows)

    async def room(self) -> None:
        """Return when half of the capacity is free, or waiting would not help: the database is away."""
        while self._is_behind:
            self._hurry.set()
            await anyio.sleep(ROOM_SECONDS)

    def flush(self) -> None:
        """Store everything that is queued now.

        Raises:
            SQLAlchemyError: when the database refuses; nothing is lost, what was packed waits to be tried again.
        """
        while self.waiting:
            self._store()

    def _store(self) -> None:
        """One transaction of what is queued."""
        with self._flushing:
            # The very same chunks again after a failure: nobody knows whether the commit had succeeded.
            self._packed = self._packed or self._pack()
            if self._packed:
                breathe()
                self._predictions.add(self._packed)
            self._packed, self._room = [], self._capacity

    @property
    def waiting(self) -> int:
        """How many predictions are not stored yet."""
        return len(self._queue) + self._rows_in_chunks + self._capacity - self._room

    @property
    def _is_behind(self) -> bool:
        return self.waiting > self._capacity // 2 and not self._is_away and not self._stopped.is_set()

    @property
    def _pause_seconds(self) -> float:
        """Until the next transaction, which costs about the same, however little it holds."""
        if self.waiting < CHUNK_ROWS or self._is_away:
            return FLUSH_SECONDS
        return BUSY_SECONDS if self.waiting < BATCH else 0.0

    def _pack(self) -> list[PredictionChunk]:
        batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
        self._room = self._capacity - len(batch)
        runs = groupby(batch, _source)
        chunks = [chunk for source, pairs in runs for chunk in pack(source, [_row(pair) for pair in pairs])]
        return chunks + self._packed_already(BATCH - len(batch))

    def _packed_already(self, enough: int) -> list[PredictionChunk]:
        """Chunks of batches, until there are enough rows in them."""
        chunks: list[PredictionChunk] = []
        rows = 0
        while self._chunks and rows < enough:
            chunks.append(self._chunks.popleft())
            rows += chunks[-1].rows
        with self._counting:
            self._rows_in_chunks -= rows
            self._room -= rows
        return chunks

    def _write(self) -> None:
        if sys.platform == "linux":  # where a thread has a priority of its own: who answers goes first
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while not self._stopped.is_set():
            self._hurry.wait(self._pause_seconds)
            self._hurry.clear()
            try:
                self._store()
                self._is_away = False
            except Exception:  # whatever it is: a thread that ended would leave batches waiting for ever
                if not self._is_away:
                    log.exception("the prediction log cannot be written; %d predictions wait", self.waiting)
                self._is_away = True
        try:
            self.flush()
        except SQLAlchemyError:
            log.exception("%d predictions were not logged", self.waiting)
