"""Notices that the champion pointer moved: loads, verifies and warms the version, then swaps."""

import logging
import threading

from boucle.artifacts import Artifacts, ServedVersion
from boucle.errors import BoucleError, CorruptArtifact
from boucle.store import Store
from serving import metrics
from serving.journal import Journal
from serving.live import LiveModel
from serving.predictor import Predictor

log = logging.getLogger(__name__)


class Watcher:
    """Polls the pointer from a thread of its own; a request that knows better may call `check` itself."""

    def __init__(self, artifacts: Artifacts, store: Store, live: LiveModel, journal: Journal, seconds: float) -> None:
        self._artifacts = artifacts
        self._journal = journal
        self._store = store
        self._live = live
        self._seconds = seconds
        self._seen: bytes | None = None
        self._checking = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="watcher")

    def start(self) -> None:
        """Load the champion, then watch for the next one."""
        self.check()
        self._thread.start()

    def stop(self) -> None:
        """Stop watching; the version in service stays."""
        self._stopped.set()
        self._thread.join()

    def check(self) -> None:
        """Bring the live model up to the pointer. A version that is refused leaves the old one in service."""
        with self._checking:
            try:
                pointer = self._artifacts.pointer_path.read_bytes()
            except OSError:
                pointer = b""
            if pointer == self._seen:
                return
            try:
                version = self._load()
                predictor = Predictor(version, self._journal)
                # Most versions share one. Should somebody have used another one meanwhile, the committer hears of it.
                if not self._live.is_ready or self._live.version.embedding.id != version.embedding.id:
                    self._store.feedback.use(version.embedding)
            except BoucleError as refusal:
                self._refuse(str(refusal), pointer)
                return
            # Load before assigning: a version that fails to load must leave the old one serving.
            self._live.swap(predictor)
            self._seen = pointer
            metrics.MODEL_LOADS.labels("swapped").inc()
            manifest = version.manifest
            log.info("serving %s (%s, %s)", version.version, manifest.algorithm, manifest.scorer)

    def _load(self) -> ServedVersion:
        version = self._artifacts.load_served()
        example = tuple(version.contract.validate_record(version.contract.example).values())
        try:
            # Warm: the first call of a library is slow, and a model that cannot predict must not be served.
            version.scorer.row(example)
        except Exception as error:
            raise CorruptArtifact(f"{version.version} cannot answer its own example: {error!r}") from error
        return version

    def _refuse(self, reason: str, pointer: bytes) -> None:
        if reason != self._live.trouble:
            log.error("new champion refused, %s", reason)
            metrics.MODEL_LOADS.labels("refused").inc()
        self._live.trouble = reason
        # Seen, lest a broken version be hashed twice a second; moving the pointer tries again.
        self._seen = pointer if self._live.is_ready else None

    def _watch(self) -> None:
        while not self._stopped.wait(self._seconds):
            try:
                self.check()
            except Exception:  # a database or disk that is away for a while must not end the watch
                log.exception("the champion pointer could not be followed")
                metrics.MODEL_LOADS.labels("failed").inc()
