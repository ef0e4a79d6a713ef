"""Keeps the loop turning: one child process a training run, stopped at its time limit; chores in between."""

import logging
import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from boucle.artifacts import Artifacts
from boucle.errors import CorruptArtifact, ModelNotFound
from boucle.store import Run, TrainingRuns

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Chore:
    """What is to be done every so many seconds while no run is."""

    seconds: float
    do: Callable[[], object]


@dataclass(frozen=True)
class Supervisor:
    """Watches the requests. ``carry_out_next`` is called in a child process, under the same ``owner``.

    A fit cannot be interrupted from within its process: only its end frees what it holds.
    """

    runs: TrainingRuns
    artifacts: Artifacts
    owner: str
    time_limit_seconds: float
    carry_out_next: Callable[[], None]
    chores: Sequence[Chore]
    beat: Callable[[], None]

    def work(self, poll_seconds: float = 0.5) -> None:
        """Carry out requests as they come, for ever."""
        self.artifacts.sweep()
        log.info("trainer waits for requests")
        away, done = False, [0.0] * len(self.chores)
        while True:
            try:
                if self.runs.is_due():
                    self.carry_out_one()
                else:
                    self._do_what_is_due(done)
                away = False
                self.beat()
            except SQLAlchemyError:
                if not away:
                    log.exception("the store does not answer; the trainer waits for it")
                away = True
            time.sleep(poll_seconds)

    def _do_what_is_due(self, done: list[float]) -> None:
        for position, chore in enumerate(self.chores):
            if time.monotonic() - done[position] > chore.seconds:
                done[position] = time.monotonic()
                try:
                    chore.do()
                except SQLAlchemyError:
                    raise
                except Exception:  # a trigger that stumbles over odd data must not end all training
                    log.exception("a chore failed; the trainer goes on, and tries it again")

    def carry_out_one(self) -> None:
        """Carry out one run in a process of its own; past the time limit it is killed, and cannot promote any more."""
        # Forked from a server that has imported everything and done nothing: quick, and no lock is copied half-held.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["boucle.retraining"])
        child = context.Process(target=self.carry_out_next, daemon=True, name="training run")
        child.start()
        child.join(self.time_limit_seconds)
        if child.is_alive():
            child.kill()
            child.join()
            run = self.runs.running(self.owner)
            if run is not None:
                self._stop(run)
        elif child.exitcode:
            log.error("the training process ended with exit code %d; what it left undone is taken over", child.exitcode)

    def _stop(self, run: Run) -> None:
        if self._was_promoted(run):
            return  # its successor will only say so
        limit = f"training.time_limit_seconds = {self.time_limit_seconds:g}"
        reason = f"stopped at its time limit ({limit}); the champion stays. Raise the limit, or list fewer candidates"
        self.runs.finish(run, self.owner, "failed", {}, reason=reason)
        log.error("run %d failed: %s", run.id, reason)

    def _was_promoted(self, run: Run) -> bool:
        try:
            return self.artifacts.manifest(self.artifacts.champion().version).run_id == run.id
        except (ModelNotFound, CorruptArtifact):
            return False
