"""The trainer: claim a request, fit challengers, hold the exam, publish the winner."""

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from sqlalchemy.exc import SQLAlchemyError

from boucle import evaluation, preparation, promotion
from boucle.arrays import FloatArray, IndexArray
from boucle.artifacts import Artifacts, Manifest, ModelVersion
from boucle.config import Project
from boucle.errors import BoucleError, ChampionMoved, LeaseLost, NotPrepared
from boucle.models import Model, Recipe
from boucle.preparation import Preparation
from boucle.promotion import Decision
from boucle.publishing import Lineage, publish
from boucle.store import Run, Store
from boucle.tracking import Record, Tracker
from boucle.training import fingerprint, fitter, recipes, test_scores

log = logging.getLogger(__name__)

EXAM_FOLDS = 5


@dataclass(frozen=True)
class Lesson:
    """The rows of one run: ``past`` is what the champion could have learnt, ``exam`` what it has never seen.

    Each is a pair of vectors (n_rows, n_components) and labels (n_rows,) in the preparation's embedding;
    ``champion_vectors`` are the exam rows in the champion's own.
    """

    past: tuple[FloatArray, IndexArray]
    exam: tuple[FloatArray, IndexArray]
    champion_vectors: FloatArray
    last_row: int

    @property
    def everything(self) -> tuple[FloatArray, IndexArray]:
        return np.concatenate([self.past[0], self.exam[0]]), np.concatenate([self.past[1], self.exam[1]])


@dataclass(frozen=True)
class Exam:
    """The best challenger beside the champion, on the same rows."""

    recipe: Recipe
    rows: int
    champion: float
    challenger: float
    decision: Decision

    @property
    def metrics(self) -> dict[str, float]:
        return {"champion": self.champion, "challenger": self.challenger, "exam_rows": float(self.rows)}


def gather(store: Store, reference: Preparation, champion: ModelVersion) -> Lesson:
    """The reference and feedback rows, cut where the champion stopped learning.

    Raises:
        NotPrepared: when champion and reference data do not predict the same classes.
    """
    if champion.contract.target != reference.contract.target:
        raise NotPrepared(
            f"the champion {champion.version} predicts {champion.contract.target.name}, the reference data "
            f"{reference.contract.target.name}: run make train"
        )
    learned = store.feedback.labelled(reference.embedding)
    unseen = learned.after(champion.manifest.feedback_row)
    champion_vectors = unseen.vectors
    if champion.embedding.id != reference.id:
        theirs = store.feedback.labelled(champion.embedding)
        unseen = unseen.select(np.isin(unseen.rows, theirs.rows))
        champion_vectors = theirs.select(np.isin(theirs.rows, unseen.rows)).vectors
    before = learned.select(learned.rows <= champion.manifest.feedback_row)
    return Lesson(
        past=(
            np.concatenate([reference.vectors, before.vectors]),
            np.concatenate([reference.labels, before.labels]),
        ),
        exam=(unseen.vectors, unseen.labels),
        champion_vectors=champion_vectors,
        last_row=int(learned.rows.max(initial=0)),
    )


def hold_exam(project: Project, reference: Preparation, champion: ModelVersion, lesson: Lesson) -> Exam:
    """Judge every recipe on the exam rows, each fold predicted by a model fitted on what came before it."""
    metric, labels = project.training.metric, lesson.exam[1]
    compared = []
    for recipe in recipes(project):
        answers = evaluation.forward_chained(fitter(recipe, reference), lesson.past, lesson.exam, EXAM_FOLDS)
        compared.append((recipe, evaluation.score(metric, labels, answers)))
    best, challenger_score = max(compared, key=lambda pair: pair[1])
    champion_score = evaluation.score(metric, labels, champion.model.probabilities(lesson.champion_vectors))
    decision = promotion.decide(champion_score, challenger_score, metric, len(labels), project.promotion.margin)
    return Exam(best, len(labels), champion_score, challenger_score, decision)


@dataclass(frozen=True)
class Trainer:
    """Carries training runs out, one at a time."""

    project: Project
    data: Path
    artifacts: Artifacts
    store: Store
    tracker: Tracker
    lease_seconds: float = 15.0
    pulse: Path | None = None  # touched whenever the store has answered: what a health check looks at
    owner: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}:{time.monotonic_ns()}")

    def work(self, poll_seconds: float = 0.5) -> None:
        """Carry out requests as they come, for ever."""
        self.artifacts.sweep()
        log.info("trainer waits for requests")
        away = False
        while True:
            try:
                run = self.carry_out_next()
            except SQLAlchemyError:
                if not away:
                    log.exception("the store does not answer; the trainer waits for it")
                away, run = True, None
            else:
                away = False
                self._beat()
            if run is None:
                time.sleep(poll_seconds)

    def carry_out_next(self) -> Run | None:
        """Carry out one run, if one can be claimed; the run as it ended."""
        run = self.store.runs.claim(self.owner, self.lease_seconds)
        if run is None:
            return None
        log.info("run %d started: trigger=%s attempt=%d", run.id, run.trigger, run.attempts)
        try:
            with self._lease(run):
                self._carry_out(run)
        except LeaseLost as lost:
            log.warning("%s", lost)
        except BoucleError as reason:
            self._fail(run, str(reason))
        except SQLAlchemyError:
            # Not the run's fault: it is claimed again when its lease has run out.
            raise
        except Exception as error:  # the loop must outlive any algorithm's surprise; the run says what it was
            log.exception("run %d failed", run.id)
            self._fail(run, f"{type(error).__name__}: {error}")
        return self.store.runs.get(run.id)

    def _carry_out(self, run: Run) -> None:
        champion = self.artifacts.load_champion()
        if champion.manifest.run_id == run.id:
            # A trainer died between moving the pointer and saying so.
            reason = self.artifacts.champion().reason
            self._finish(run, "promoted", reason, champion.manifest.metrics.get("exam", {}), champion.version)
            return
        self.store.runs.note(run, self.owner, parent_version=champion.version)
        reference = preparation.load(self.data)
        lesson = gather(self.store, reference, champion)
        if not len(lesson.exam[1]):
            reason = f"no feedback since {champion.version} was trained: nothing to examine a challenger on"
            self._finish(run, "insufficient evidence", reason, {})
            return
        mlflow_run_id = self.tracker.start(f"retrain {run.id}")
        self.store.runs.note(run, self.owner, mlflow_run_id=mlflow_run_id)
        exam = hold_exam(self.project, reference, champion, lesson)
        verdict, reason, manifest = exam.decision.verdict, exam.decision.reason, None
        if exam.decision.promote:
            lineage = Lineage(
                fingerprint(self.project, reference), champion.version, lesson.last_row, run.id, mlflow_run_id
            )
            model = fitter(exam.recipe, reference)(*lesson.everything)
            try:
                manifest = self._promote(run, lineage, reference, model, exam)
            except ChampionMoved as moved:
                verdict, reason = "superseded", str(moved)
        version = manifest.version if manifest else None
        self._finish(run, verdict, reason, exam.metrics, version, exam.recipe.algorithm)
        self.tracker.record(
            Record(
                name=f"retrain {run.id}",
                mlflow_run_id=mlflow_run_id,
                started_at=datetime.fromisoformat(run.started_at or run.requested_at),
                finished_at=datetime.now(UTC),
                metric=self.project.training.metric,
                metrics=dict(exam.metrics),
                tags={"verdict": verdict, "reason": reason, "trigger": run.trigger, "parent_version": champion.version},
                version=version,
                alias="champion" if version else None,
            )
        )

    def _promote(self, run: Run, lineage: Lineage, reference: Preparation, model: Model, exam: Exam) -> Manifest:
        """Publish the winner, fitted on all rows, and point at it."""
        metrics = {"exam": exam.metrics, "held-out test rows": test_scores(model, reference)}
        manifest = publish(self.artifacts, self.project, reference, exam.recipe, model, metrics, lineage)
        # The fence: a trainer that slept past its lease must not publish what its successor is already deciding.
        self.store.runs.renew(run, self.owner, self.lease_seconds)
        self.artifacts.promote(
            manifest.version, replacing=lineage.parent_version, reason=exam.decision.reason, actor=f"run {run.id}"
        )
        return manifest

    def _finish(
        self,
        run: Run,
        verdict: str,
        reason: str,
        metrics: dict[str, float],
        version: str | None = None,
        strategy: str | None = None,
    ) -> None:
        scores = {"metric": self.project.training.metric, **metrics} if metrics else {}
        details = {"verdict": verdict, "reason": reason, "version": version, "strategy": strategy}
        self.store.runs.finish(run, self.owner, "finished", scores, **details)
        log.info("run %d finished: verdict=%s version=%s %s", run.id, verdict, version, reason)

    def _fail(self, run: Run, reason: str) -> None:
        try:
            self.store.runs.finish(run, self.owner, "failed", {}, reason=reason)
            log.error("run %d failed: %s", run.id, reason)
        except LeaseLost as lost:
            log.warning("%s", lost)

    def _beat(self) -> None:
        if self.pulse is not None:
            self.pulse.touch()

    @contextmanager
    def _lease(self, run: Run) -> Iterator[None]:
        """Renew the lease until the work is done; a trainer that dies stops renewing, and is succeeded."""
        done = threading.Event()

        def renew() -> None:
            while not done.wait(self.lease_seconds / 3):
                try:
                    self.store.runs.renew(run, self.owner, self.lease_seconds)
                    self._beat()
                except LeaseLost:
                    return
                except SQLAlchemyError:
                    log.warning("run %d: the lease could not be renewed; trying again", run.id)

        heartbeat = threading.Thread(target=renew, daemon=True, name="lease")
        heartbeat.start()
        try:
            yield
        finally:
            done.set()
            heartbeat.join()
