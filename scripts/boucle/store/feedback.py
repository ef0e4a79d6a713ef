"""The feedback table: rows, their numbers, the training requests they trigger, and their lines in prod_data.csv."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec
import numpy as np
import orjson
import sqlalchemy as sa
from msgspec.structs import asdict
from numpy.typing import NDArray

from boucle.arrays import FloatArray, IndexArray, Labels
from boucle.contract import Label, Record
from boucle.errors import EmbeddingChanged, FeedbackConflict, InvalidRecord
from boucle.store import projection
from boucle.store.chunks import made_at, tells_its_time
from boucle.store.database import FEEDBACK, PROJECTION, TRAINING_RUNS, Database, insert_many, now
from boucle.store.runs import TrainingRuns

if TYPE_CHECKING:  # the store handles embeddings; it need not import scikit-learn for that
    from boucle.embedding import Embedding
    from boucle.scorer import CompiledEmbedding

ACCEPTED, SET_ASIDE = "accepted", "set aside"
CHUNK = 2_000
MOST_ASKED = 500

KNOWN = (
    sa.select(*(FEEDBACK.c[name] for name in ("prediction_id", "row", "input", "target", "reason")), TRAINING_RUNS.c.id)
    .outerjoin(TRAINING_RUNS, TRAINING_RUNS.c.feedback_row == FEEDBACK.c.row)
    .where(FEEDBACK.c.prediction_id.in_(sa.bindparam("prediction_ids", expanding=True)))
)

LAST = (
    sa.select(FEEDBACK.c.row, FEEDBACK.c.line_end, FEEDBACK.c.checksum).order_by(FEEDBACK.c.row.desc()).limit(1)
).subquery()
STANDING = sa.select(PROJECTION.c.embedding_id, PROJECTION.c.header, LAST).outerjoin_from(PROJECTION, LAST, sa.true())

Rows = Sequence[sa.Row[Any]]


# Here and below: of what is made once for each feedback, a frozen dataclass takes six times as long.
class Feedback(msgspec.Struct, frozen=True):
    """The truth about one input, beside what was predicted; ``vector`` has shape (n_components,)."""

    prediction_id: str
    input: Record
    vector: FloatArray
    target: Label
    prediction: Label
    model_version: str | None
    set_aside: str | None = None  # why the row cannot be learnt from, or not yet


class GivenFeedback(Feedback, frozen=True):
    """Feedback as it stands in the table: its row, when it came, and how long after its prediction if that is known."""

    row: int = 0
    created_at: str = ""

    @property
    def delay_seconds(self) -> float | None:
        """How long its prediction waited for it; None for a datum that was not predicted here."""
        if not tells_its_time(self.prediction_id):
            return None
        made, given = (datetime.fromisoformat(text) for text in (made_at(self.prediction_id), self.created_at))
        return (given - made).total_seconds()


class Receipt(msgspec.Struct, frozen=True):
    """What the client gets for a feedback: the same again however often it is sent."""

    row: int
    prediction_id: str
    target: Label
    prediction: Label
    run_id: int | None
    rows_to_next_retraining: int | None
    status: str = ACCEPTED
    reason: str | None = None

    @property
    def retraining_requested(self) -> bool:
        return self.run_id is not None


@dataclass(frozen=True)
class Labelled:
    """Accepted feedback for training: row numbers (n,), vectors (n, n_components), labels (n,)."""

    rows: IndexArray
    vectors: FloatArray
    labels: Labels

    def select(self, chosen: NDArray[np.bool_]) -> "Labelled":
        """The rows where ``chosen`` (n,) is true; a copy only if some are not."""
        return self if chosen.all() else Labelled(self.rows[chosen], self.vectors[chosen], self.labels[chosen])


class FeedbackTable:
    """Accepted feedback in order. The table is the record; prod_data.csv shows it."""

    def __init__(self, database: Database, runs: TrainingRuns, prod_data: Path, k: int) -> None:
        self._database = database
        self._runs = runs
        self._prod_data = prod_data
        self._k = k

    def add(self, items: Sequence[Feedback], embedding_id: str) -> list[Receipt | FeedbackConflict]:
        """Store the rows, their lines and the training requests they trigger; durable on return.

        Each item gets what it would get if they came one after another: one that was given before changes nothing and
        gets its first receipt, or a conflict when its target or input was another one. All are one transaction.

        Raises:
            EmbeddingChanged: when prod_data.csv holds the vectors of another embedding by now; nothing is stored.
        """
        with self._database.writing() as connection:
            standing = _standing(connection)
            if standing.embedding_id != embedding_id:
                raise EmbeddingChanged(
                    f"prod_data.csv holds vectors of embedding {standing.embedding_id}, not of {embedding_id}"
                )
            known = _given_before(connection, [item.prediction_id for item in items])
            addition = _Addition(standing)
            outcomes: list[Receipt | FeedbackConflict] = []
            for item in items:
                before = known.get(item.prediction_id)
                if before is None:
                    run_id = self._requested(connection, addition.last + 1)
                    known[item.prediction_id] = added = addition.append(item, run_id)
                    outcomes.append(self._receipt(added, item))
                else:
                    outcomes.append(_conflict(before, item) or self._receipt(before, item))
            if addition.rows:
                insert_many(connection, FEEDBACK, addition.rows)
            # Before the commit: a line too many is cut off by the next writer, a missing one would be a broken promise.
            lines = b"".join(addition.lines)
            if lines and not projection.write_at(self._prod_data, standing.extent.end, lines):
                projection.rebuild(self._prod_data, _lines(connection, standing.header))
            return outcomes

    def use(self, embedding: "Embedding | CompiledEmbedding") -> None:
        """Make prod_data.csv show the accepted feedback as vectors of ``embedding``.

        Nothing is done when it does already. Else every row is embedded anew; a row that the new contract does not
        fit is set aside with the reason, and comes back should a later contract fit it.
        """
        if self.embedding_id() == embedding.id:
            return
        header = projection.header_line(embedding.columns)
        with self._database.writing() as connection:
            if _standing(connection).embedding_id == embedding.id:
                return
            connection.execute(sa.delete(PROJECTION))
            connection.execute(sa.insert(PROJECTION).values(id=1, embedding_id=embedding.id, header=header))
            _embed_anew(connection, embedding, _beginning(header))
            projection.rebuild(self._prod_data, _lines(connection, header))

    def repair_projection(self) -> bool:
        """Compare prod_data.csv with the checksum in the table, and rebuild it if they differ; whether they did."""
        with self._database.writing() as connection:
            standing = _standing(connection)
            if standing.embedding_id is None or projection.holds(self._prod_data, standing.extent):
                return False
            rebuilt = projection.rebuild(self._prod_data, _lines(connection, standing.header))
            # Rows of older releases have none.
            checked = sa.update(FEEDBACK).where(FEEDBACK.c.row == standing.last).values(checksum=rebuilt.checksum)
            connection.execute(checked)
            return True

    def rows(self) -> int:
        """The number of the last row, which is how many feedbacks were ever accepted."""
        with self._database.reading() as connection:
            return connection.execute(sa.select(sa.func.max(FEEDBACK.c.row))).scalar_one() or 0

    def rows_to_next_retraining(self) -> int | None:
        """How many more rows request the next training run; None when k = 0, which requests none."""
        return self._rows_to_next(self.rows())

    def between(self, after: int, last: int, model_version: str | None = None) -> list[Feedback]:
        """The accepted rows behind ``after`` up to row ``last``, in order.

        With a ``model_version``, only those that it predicted, or of which nobody said who did.
        """
        chosen = [FEEDBACK.c.row > after, FEEDBACK.c.row <= last, FEEDBACK.c.status == ACCEPTED]
        if model_version is not None:
            chosen.append(sa.or_(FEEDBACK.c.model_version == model_version, FEEDBACK.c.model_version.is_(None)))
        query = sa.select(FEEDBACK).where(*chosen).order_by(FEEDBACK.c.row)
        with self._database.reading() as connection:
            return [_feedback(row) for row in connection.execute(query)]

    def newest(self, limit: int) -> list[GivenFeedback]:
        """The last accepted rows, in order."""
        query = sa.select(FEEDBACK).where(FEEDBACK.c.status == ACCEPTED).order_by(FEEDBACK.c.row.desc()).limit(limit)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [
            GivenFeedback(**asdict(_feedback(row)), row=row.row, created_at=row.created_at) for row in reversed(rows)
        ]

    def last_given_at(self) -> str | None:
        """When the last row came."""
        query = sa.select(FEEDBACK.c.created_at).order_by(FEEDBACK.c.row.desc()).limit(1)
        with self._database.reading() as connection:
            return connection.execute(query).scalar_one_or_none()

    def targets_of(self, prediction_ids: Sequence[str]) -> dict[str, Label]:
        """The true values of those predictions for which one came."""
        with self._database.reading() as connection:
            known = _given_before(connection, prediction_ids)
        return {prediction_id: json.loads(one.target) for prediction_id, one in known.items()}

    def embedding_id(self) -> str | None:
        """The embedding of the stored vectors, or None before any was used."""
        with self._database.reading() as connection:
            return _standing(connection).embedding_id

    def labelled(self, embedding: "Embedding", after: int = 0, before: Labelled | None = None) -> Labelled:
        """Every row behind ``after`` that fits the embedding's contract, in order; the rows of ``before`` come first.

        The vectors stay in a file without a name, which is paged in as they are used and goes with the array: memory
        holds one chunk of them, however many there are.
        """
        exact = embedding.contract.target.n_classes
        rows: list[IndexArray] = [np.empty(0, dtype=np.int64)]
        labels: list[Labels] = [np.empty(0, dtype=np.float64 if exact is None else np.int64)]
        with tempfile.TemporaryFile(dir=self._prod_data.parent) as file, self._database.reading() as connection:
            for chunk in chain([before] if before else [], _labelled(connection, embedding, after)):
                rows.append(chunk.rows)
                labels.append(chunk.labels.astype(labels[0].dtype))
                file.write(chunk.vectors.tobytes())
            return Labelled(np.concatenate(rows), _paged(file, len(embedding.columns)), np.concatenate(labels))

    def set_aside(self) -> dict[Label, int]:
        """How many rows wait, by target, since the contract does not fit them."""
        query = sa.select(FEEDBACK.c.target, sa.func.count()).where(FEEDBACK.c.status == SET_ASIDE)
        with self._database.reading() as connection:
            return {json.loads(target): rows for target, rows in connection.execute(query.group_by(FEEDBACK.c.target))}

    def _requested(self, connection: sa.Connection, row: int) -> int | None:
        """The training run that the new row requests."""
        if not self._k or row % self._k:
            return None
        reason = f"feedback row {row}, of which every {self._k}th requests a run"
        return self._runs.request_within(connection, trigger="feedback", feedback_row=row, trigger_reason=reason)

    def _receipt(self, known: "_Known", item: Feedback) -> Receipt:
        return Receipt(
            row=known.row,
            prediction_id=item.prediction_id,
            target=item.target,
            prediction=item.prediction,
            run_id=known.run_id,
            rows_to_next_retraining=self._rows_to_next(known.row),
            status=ACCEPTED if known.reason is None else SET_ASIDE,
            reason=known.reason,
        )

    def _rows_to_next(self, row: int) -> int | None:
        return self._k - row % self._k if self._k else None


class _Known(msgspec.Struct, frozen=True):
    """What the table holds of a feedback: input and target as JSON, and the training run that its row requested."""

    row: int
    input: str
    target: str
    reason: str | None
    run_id: int | None


@dataclass(frozen=True)
class _Standing:
    """How the vectors were embedded (None before any was), and how far table and file have come."""

    embedding_id: str | None
    header: str
    last: int  # row
    extent: projection.Extent


class _Addition:
    """Rows for the table and lines for the file, behind those that are there."""

    def __init__(self, standing: _Standing) -> None:
        self.last = standing.last
        self.rows: list[dict[str, Any]] = []  # columns of several types
        self.lines: list[bytes] = []
        self._extent = standing.extent
        self._created_at = now()

    def append(self, item: Feedback, run_id: int | None) -> _Known:
        self.last += 1
        if item.set_aside is None:
            self.lines.append(projection.row_line(item.vector, item.target, item.prediction))
            self._extent = self._extent.followed_by(self.lines[-1])
        # Labels are looked for by their text: written as ever. Nobody looks for an input.
        known = _Known(self.last, orjson.dumps(item.input).decode(), _written(item.target), item.set_aside, run_id)
        self.rows.append(
            {
                "row": known.row,
                "prediction_id": item.prediction_id,
                "created_at": self._created_at,
                "input": known.input,
                "vector": np.asarray(item.vector, dtype=np.float64).tobytes(),
                "target": known.target,
                "prediction": _written(item.prediction),
                "model_version": item.model_version,
                "status": ACCEPTED if known.reason is None else SET_ASIDE,
                "reason": known.reason,
                "line_end": self._extent.end,
                "checksum": self._extent.checksum,
            }
        )
        return known


@lru_cache(maxsize=1_000, typed=True)  # classes come again and again; typed, as True is not 1
def _written(label: Label) -> str:
    return json.dumps(label)


def _conflict(known: _Known, item: Feedback) -> FeedbackConflict | None:
    if known.target == _written(item.target) and json.loads(known.input) == item.input:
        return None
    return FeedbackConflict(
        f"feedback {item.prediction_id} was given before, with target {known.target}; the first one stays"
    )


def _given_before(connection: sa.Connection, prediction_ids: Sequence[str]) -> dict[str, _Known]:
    """Those that the table holds already, by their identifier."""
    found: dict[str, _Known] = {}
    for start in range(0, len(prediction_ids), MOST_ASKED):
        asked = {"prediction_ids": prediction_ids[start : start + MOST_ASKED]}
        for prediction_id, *known in connection.execute(KNOWN, asked):
            found[prediction_id] = _Known(*known)
    return found


def _feedback(row: sa.Row[Any]) -> Feedback:
    return Feedback(
        prediction_id=row.prediction_id,
        input=json.loads(row.input),
        vector=np.frombuffer(row.vector),
        target=json.loads(row.target),
        prediction=json.loads(row.prediction),
        model_version=row.model_version,
    )


def _standing(connection: sa.Connection) -> _Standing:
    found = connection.execute(STANDING).one_or_none()
    if found is None:
        return _Standing(None, "", 0, projection.Extent())
    embedding_id, header, last, *extent = found
    return _Standing(embedding_id, header, last or 0, projection.Extent(*extent) if last else _beginning(header))


def _beginning(header: str) -> projection.Extent:
    return projection.Extent().followed_by(header.encode())


def _chunks(
    connection: sa.Connection,
    *conditions: sa.ColumnElement[bool],
    after: int = 0,
    columns: Sequence[sa.ColumnElement[Any]] = tuple(FEEDBACK.c),
) -> Iterator[Rows]:
    while True:
        query = sa.select(*columns).where(FEEDBACK.c.row > after, *conditions).order_by(FEEDBACK.c.row).limit(CHUNK)
        chunk = connection.execute(query).all()
        if not chunk:
            return
        yield chunk
        after = chunk[-1].row


def _accepted(connection: sa.Connection) -> Iterator[Rows]:
    return _chunks(connection, FEEDBACK.c.status == ACCEPTED)


def _labelled(connection: sa.Connection, embedding: "Embedding", after: int) -> Iterator[Labelled]:
    target, width = embedding.contract.target, len(embedding.columns)
    if _standing(connection).embedding_id != embedding.id:
        for chunk in _chunks(connection, after=after):
            fitting = [(read, read.vector) for read in _embedded(chunk, embedding) if read.vector is not None]
            if fitting:
                labels = np.array([target.index(read.target) for read, _ in fitting])
                yield Labelled(
                    np.array([read.row for read, _ in fitting]), np.stack([vector for _, vector in fitting]), labels
                )
        return
    # Not the inputs: they are most of the table.
    columns = (FEEDBACK.c.row, FEEDBACK.c.vector, FEEDBACK.c.target)
    for chunk in _chunks(connection, FEEDBACK.c.status == ACCEPTED, after=after, columns=columns):
        rows, vectors, truths = zip(*chunk, strict=True)
        labels_of = {text: target.index(json.loads(text)) for text in set(truths)}
        yield Labelled(
            np.array(rows),
            np.frombuffer(b"".join(vectors)).reshape(len(rows), width),
            np.array([labels_of[text] for text in truths]),
        )


def _paged(file: IO[bytes], width: int) -> FloatArray:
    """The vectors in the file, shape (n, width), read only."""
    file.flush()
    # An empty file cannot be mapped.
    return np.asarray(np.memmap(file, np.float64, "r").reshape(-1, width)) if file.tell() else np.empty((0, width))


def _lines(connection: sa.Connection, header: str) -> Iterator[bytes]:
    yield header.encode()
    for chunk in _accepted(connection):
        for row in chunk:
            yield projection.row_line(np.frombuffer(row.vector), json.loads(row.target), json.loads(row.prediction))


@dataclass(frozen=True)
class _Reading:
    """A row as an embedding reads it: its vector, or the reason why the contract does not fit it."""

    row: int
    target: Label
    prediction: Label
    vector: FloatArray | None
    reason: str | None


def _embedded(chunk: Rows, embedding: "Embedding | CompiledEmbedding") -> Iterator[_Reading]:
    records: list[Record] = []
    reasons: list[str | None] = []
    for row in chunk:
        try:
            embedding.contract.target.index(json.loads(row.target))
            records.append(embedding.contract.validate_record(json.loads(row.input)))
            reasons.append(None)
        except InvalidRecord as mismatch:
            reasons.append(str(mismatch))
    vectors = iter(embedding.vectors(records) if records else ())
    for row, reason in zip(chunk, reasons, strict=True):
        vector = next(vectors) if reason is None else None
        yield _Reading(row.row, json.loads(row.target), json.loads(row.prediction), vector, reason)


def _embed_anew(
    connection: sa.Connection, embedding: "Embedding | CompiledEmbedding", extent: projection.Extent
) -> None:
    for chunk in _chunks(connection):
        for reading in _embedded(chunk, embedding):
            values: dict[str, object] = {"status": SET_ASIDE, "reason": reading.reason}
            if reading.vector is not None:
                extent = extent.followed_by(projection.row_line(reading.vector, reading.target, reading.prediction))
                values = {"status": ACCEPTED, "reason": None, "vector": reading.vector.tobytes()}
            statement = sa.update(FEEDBACK).where(FEEDBACK.c.row == reading.row)
            connection.execute(statement.values(**values, line_end=extent.end, checksum=extent.checksum))
