"""The prediction log: what was asked, what was answered, by which version."""

import json
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence, Set
from functools import lru_cache
from importlib import import_module
from itertools import accumulate
from typing import Any

import sqlalchemy as sa

from boucle.pacing import breathe
from boucle.store.chunks import LoggedPrediction, PredictionChunk, PredictionSource, earliest_first, pick, unpack
from boucle.store.database import PREDICTION_CHUNKS, Database

BATCH = 500
PAUSE_SECONDS = 0.05

SMALL_CHECKPOINT_PAGES = 100  # a thousand at once would hold up those who answer for 4 ms

CHUNKS = PREDICTION_CHUNKS.c

MAY_HOLD = sa.select(PREDICTION_CHUNKS).where(
    CHUNKS.first_id.between(sa.bindparam("earliest_first"), sa.bindparam("prediction_id")),
    CHUNKS.last_id >= sa.bindparam("prediction_id"),
)


class PredictionLog:
    """The table of predictions, many in a row; the view ``predictions`` shows one in a row."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, chunks: Sequence[PredictionChunk]) -> None:
        """Store them all in one transaction; one that is there already stays as it is.

        So the very same chunks can be given again when nobody knows whether a commit succeeded.
        """
        # Of this database only: to import another one's costs every worker 20 ms and 2 MB.
        insert = import_module(f"sqlalchemy.dialects.{self._database.engine.dialect.name}").insert
        rows = [
            {
                "first_id": chunk.first_id,
                "last_id": chunk.last_id,
                "created_at": chunk.created_at,
                "model_version": chunk.source.model_version,
                "arm": chunk.source.arm,
                "columns": json.dumps(chunk.source.columns),
                "classes": json.dumps(chunk.source.classes),
                "rows": chunk.rows,
                "content": chunk.content,
            }
            for chunk in chunks
        ]
        with self._database.writing(SMALL_CHECKPOINT_PAGES) as connection:
            connection.execute(insert(PREDICTION_CHUNKS).on_conflict_do_nothing(), rows)
            breathe()  # the commit is a piece of its own

    def find(self, prediction_id: str) -> LoggedPrediction | None:
        """The prediction with this identifier, or None.

        Costs the chunks of one second at most, however many there are.
        """
        return self.find_all({prediction_id}).get(prediction_id)

    def find_all(self, prediction_ids: Set[str]) -> dict[str, LoggedPrediction]:
        """The predictions with these identifiers, as far as they are logged; neighbours are read together."""
        wanted, found = sorted(prediction_ids), dict[str, LoggedPrediction]()
        with self._database.reading() as connection:
            for prediction_id in wanted:
                if prediction_id not in found:
                    asked = {"prediction_id": prediction_id, "earliest_first": earliest_first(prediction_id)}
                    for chunk in connection.execute(MAY_HOLD, asked):
                        found |= {logged.prediction_id: logged for logged in _picked(chunk, wanted)}
        return found

    def newest(self, limit: int) -> list[LoggedPrediction]:
        """The last predictions, in the order in which they were made, which is that of their identifiers.

        Chunks of several workers overlap: all are read that can hold one of the last ``limit``.
        """
        with self._database.reading() as connection:
            since = _first_of_newest(connection, limit)
            chunks = connection.execute(sa.select(PREDICTION_CHUNKS).where(CHUNKS.last_id >= since)).all()
        logged = [prediction for chunk in chunks for prediction in _unpacked(chunk)]
        return sorted(logged, key=lambda prediction: prediction.prediction_id)[-limit:]

    def last_id(self) -> str:
        """The identifier of the last prediction, or nothing."""
        with self._database.reading() as connection:
            return connection.execute(sa.select(sa.func.max(CHUNKS.last_id))).scalar_one() or ""

    def last_made_at(self) -> str | None:
        """When the last one was made."""
        query = sa.select(CHUNKS.created_at).order_by(CHUNKS.last_id.desc()).limit(1)
        with self._database.reading() as connection:
            return connection.execute(query).scalar_one_or_none()

    def count_after(self, prediction_id: str, limit: int) -> int:
        """How many were made after this one; counted up to ``limit``."""
        # Each of them holds one at least.
        later = sa.select(CHUNKS.first_id, CHUNKS.rows).where(CHUNKS.last_id > prediction_id)
        count = 0
        with self._database.reading() as connection:
            for first_id, rows in connection.execute(later.order_by(CHUNKS.last_id.desc()).limit(limit)):
                count += rows if first_id > prediction_id else _rows_after(connection, first_id, prediction_id)
        return min(count, limit)

    def last_used(self) -> dict[str, str]:
        """Every version that the log names, with the time of its newest prediction.

        Costs a few steps in an index per version, however many predictions there are.
        """
        version, created_at = CHUNKS.model_version, CHUNKS.created_at
        newest = sa.select(version, created_at).order_by(version.desc(), created_at.desc()).limit(1)
        found: dict[str, str] = {}
        with self._database.reading() as connection:
            row = connection.execute(newest).one_or_none()
            while row is not None:
                found[row.model_version] = row.created_at
                row = connection.execute(newest.where(version < row.model_version)).one_or_none()
        return found

    def older_than(self, moment: str) -> int:
        """How many predictions were made before ``moment``; those of a chunk count together, by its youngest."""
        versions = self.last_used()
        with self._database.reading() as connection:
            return sum(connection.execute(_total().where(_old(name, moment))).scalar_one() for name in versions)

    def prune(self, moment: str, most: int) -> int:
        """Delete predictions that were made before ``moment``, about ``most`` at most; how many.

        Whole chunks go, each when its youngest prediction is old: none goes a moment too early, some up to a second
        late, and the last chunk may exceed ``most``. In small transactions with pauses between them: feedback and the
        log's writer wait for none of them long.
        """
        deleted = 0
        for version in self.last_used():
            while deleted < most:
                batch = self._delete_oldest(version, moment, min(BATCH, most - deleted))
                if not batch:
                    break
                deleted += batch
                time.sleep(PAUSE_SECONDS)
        return deleted

    def count(self) -> int:
        """How many predictions are logged."""
        with self._database.reading() as connection:
            return connection.execute(_total()).scalar_one()

    def _delete_oldest(self, version: str, moment: str, enough: int) -> int:
        """Delete the oldest chunks until there were enough rows in them; how many there were."""
        # Each of them holds one at least.
        query = sa.select(CHUNKS.first_id, CHUNKS.rows).where(_old(version, moment)).order_by(CHUNKS.created_at)
        with self._database.writing() as connection:
            oldest = connection.execute(query.limit(enough)).all()
            totals = list(accumulate(chunk.rows for chunk in oldest))
            chosen = [chunk for chunk, total in zip(oldest, totals, strict=True) if total - chunk.rows < enough]
            gone = CHUNKS.first_id.in_([chunk.first_id for chunk in chosen])
            connection.execute(sa.delete(PREDICTION_CHUNKS).where(gone))
        return sum(chunk.rows for chunk in chosen)


def _total() -> sa.Select[int]:
    return sa.select(sa.cast(sa.func.coalesce(sa.func.sum(CHUNKS.rows), 0), sa.BigInteger))


def _old(version: str, moment: str) -> sa.ColumnElement[bool]:
    # With the version, although it does not matter here: so the index that starts with it is used.
    return sa.and_(CHUNKS.model_version == version, CHUNKS.created_at < moment)


def _first_of_newest(connection: sa.Connection, limit: int) -> str:
    """An identifier behind which there are at least ``limit`` predictions, if there are so many."""
    # Each of these chunks holds one at least: what ends before them holds none of the last ``limit``.
    query = sa.select(CHUNKS.first_id, CHUNKS.rows).order_by(CHUNKS.last_id.desc()).limit(limit)
    since, count = "", 0
    for first_id, rows in connection.execute(query):
        since, count = min(since or first_id, first_id), count + rows
        if count >= limit:
            break
    return since


def _rows_after(connection: sa.Connection, first_id: str, prediction_id: str) -> int:
    chunk = connection.execute(sa.select(PREDICTION_CHUNKS).where(CHUNKS.first_id == first_id)).one_or_none()
    return sum(logged.prediction_id > prediction_id for logged in _unpacked(chunk)) if chunk else 0


def _unpacked(chunk: sa.Row[Any]) -> list[LoggedPrediction]:
    return unpack(_source(chunk), chunk.content, chunk.created_at)


def _picked(chunk: sa.Row[Any], wanted: Sequence[str]) -> Iterator[LoggedPrediction]:
    near = wanted[bisect_left(wanted, chunk.first_id) : bisect_right(wanted, chunk.last_id)]
    return pick(_source(chunk), chunk.content, chunk.created_at, near)


def _source(chunk: sa.Row[Any]) -> PredictionSource:
    return _source_of(chunk.model_version, chunk.arm, chunk.columns, chunk.classes)


@lru_cache(maxsize=100)  # a version's chunks are alike in it
def _source_of(model_version: str, arm: str, columns: str, classes: str) -> PredictionSource:
    return PredictionSource(model_version, arm, tuple(json.loads(columns)), tuple(json.loads(classes)))
