"""Feedback of many requests in one transaction: with one sync for all, none waits for its turn to sync."""

from collections.abc import Sequence

from msgspec.structs import asdict
from sqlalchemy.exc import InterfaceError, OperationalError

from boucle.artifacts import ServedVersion
from boucle.errors import EmbeddingChanged, InvalidRecord
from boucle.store import Feedback, Receipt
from boucle.store.feedback import FeedbackTable
from serving.given import Given, Truth
from serving.grouping import Grouped
from serving.live import LiveModel
from serving.watcher import Watcher

MOST = 500
EMBEDDING_TRIES = 5

Outcome = Receipt | Exception


class Committer(Grouped[Given, Receipt]):
    """Embeds and stores feedback: whoever asks gets the receipt once the row is durable, in the file too.

    One that is wrong fails alone.
    """

    def __init__(self, feedback: FeedbackTable, live: LiveModel, watcher: Watcher) -> None:
        super().__init__("committer", self._commit, MOST)
        self._feedback = feedback
        self._live = live
        self._watcher = watcher

    def _commit(self, group: Sequence[Given]) -> Sequence[Outcome]:
        try:
            return self._follow_and_store(group)
        except (EmbeddingChanged, OperationalError, InterfaceError):  # no fault of any of them
            raise
        except Exception:
            if len(group) == 1:
                raise
            return [self._alone(given) for given in group]

    def _alone(self, given: Given) -> Outcome:
        try:
            return self._follow_and_store([given])[0]
        except Exception as failure:  # its own
            return failure

    def _follow_and_store(self, group: Sequence[Given]) -> Sequence[Outcome]:
        for _ in range(EMBEDDING_TRIES):
            try:
                return self._store(group, self._live.version)
            except EmbeddingChanged as change:
                # Another worker swapped to a new embedding a moment ago: follow it now, and embed again. If it has died
                # since, and the champion is ours, the feedback follows ours.
                changed = change
                self._watcher.check()
                self._feedback.use(self._live.version.embedding)
        raise changed

    def _store(self, group: Sequence[Given], version: ServedVersion) -> Sequence[Outcome]:
        read = [_read(given, version) for given in group]
        truths = [truth for truth in read if isinstance(truth, Truth)]
        receipts = iter(self._embed_and_add(truths, version) if truths else ())
        return [next(receipts) if isinstance(truth, Truth) else truth for truth in read]

    def _embed_and_add(self, truths: Sequence[Truth], version: ServedVersion) -> Sequence[Outcome]:
        vectors = version.embedding.vectors([truth.input for truth in truths])
        items = [Feedback(vector=vector, **asdict(truth)) for truth, vector in zip(truths, vectors, strict=True)]
        return self._feedback.add(items, version.embedding.id)


def _read(given: Given, version: ServedVersion) -> Truth | InvalidRecord:
    try:
        return given.under(version)
    except InvalidRecord as mismatch:
        return mismatch
