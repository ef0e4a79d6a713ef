"""The trainer: claim a request, hold the exam, publish the challenger, promote it if it won."""

import logging
import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from sqlalchemy.exc import SQLAlchemyError

from boucle import examination, models, preparation, training
from boucle.artifacts import HELD_OUT, Artifacts, Manifest, ModelVersion
from boucle.config import Project
from boucle.contract import Classes, Label, Quantity
from boucle.engine import Engine
from boucle.errors import (
    BoucleError,
    ChampionMoved,
    InvalidProject,
    LeaseLost,
    NotEnoughData,
    NotPrepared,
    TrainingFailed,
)
from boucle.exam import Exam
from boucle.examination import Lesson, Result
from boucle.models import Recipe
from boucle.preparation import Preparation
from boucle.publishing import Lineage, publish
from boucle.store import Labelled, Run, Store
from boucle.tracking import Record, Tracker

log = logging.getLogger(__name__)

SECONDS_BETWEEN_REPORTS = 0.5
SECONDS_BETWEEN_LOOKS = 0.5
RUNS_REMEMBERED = 100


@dataclass(frozen=True)
class Outcome:
    """What a run came to: the verdict with its reason, and the challenger's version if one was published."""

    verdict: str
    reason: str
    exam: Exam | None = None
    recipe: Recipe | None = None
    manifest: Manifest | None = None


def gather(
    store: Store, prepared: Preparation, champion: ModelVersion, new_class_rows: int
) -> tuple[Preparation, Lesson]:
    """The reference and feedback rows, cut where the champion stopped learning.

    The preparation is returned with the classes that feedback has taught: those that the champion knows already, and
    those that ``new_class_rows`` rows or more are waiting for.

    Raises:
        NotPrepared: when champion and reference data do not predict the same target.
    """
    reference = prepared.knowing(_learnt_classes(store, prepared, champion, new_class_rows))
    seen = champion.manifest.feedback_row
    # Row numbers begin at 1: the reference rows are those before all feedback.
    known = Labelled(np.zeros(len(reference.labels), dtype=np.int64), reference.vectors, reference.labels)
    learned, theirs = store.feedback.labelled(reference.embedding, before=known), None
    if champion.embedding.fit_id != reference.embedding.fit_id:
        theirs = store.feedback.labelled(champion.embedding, after=seen)
        learned = learned.select((learned.rows <= seen) | np.isin(learned.rows, theirs.rows))
    start = int(np.searchsorted(learned.rows, seen, side="right"))
    unseen = learned.rows[start:]
    lesson = Lesson(
        vectors=learned.vectors,
        labels=learned.labels,
        unseen=start,
        start=start,
        rows=unseen,
        champion_vectors=theirs.select(np.isin(theirs.rows, unseen)).vectors if theirs else learned.vectors[start:],
        n_classes=reference.contract.target.n_classes,
    )
    return reference, lesson


def challengers(project: Project, reference: Preparation, champion: ModelVersion, rows: int) -> list[Recipe]:
    """Every algorithm with every way to remember, and the champion fine-tuned; the champion's own recipe first.

    A memory longer than the ``rows`` there are would only repeat `scratch`.

    Raises:
        InvalidProject: when the strategies leave nothing to try.
    """
    settings, manifest = project.training, champion.manifest
    plain, found = training.candidates(project, reference.embedding), []
    memories = {"scratch": None, "recency": settings.half_life, "window": settings.window}
    for recipe in plain:
        for strategy, memory in memories.items():
            if strategy in settings.strategies and (memory is None or memory < rows):
                found.append(replace(recipe, strategy=strategy, memory=memory))
    if "fine_tune" in settings.strategies and _can_be_fine_tuned(champion, reference):
        found.append(replace(plain[0], algorithm=manifest.algorithm, strategy="fine_tune", parameters={}))
    if not found:
        raise InvalidProject(
            f"training.strategies: fine_tune alone cannot go on from a {manifest.algorithm}; add scratch"
        )
    own = (manifest.algorithm, manifest.strategy)
    return sorted(found, key=lambda recipe: (recipe.algorithm, recipe.strategy) != own)


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

    def carry_out_next(self) -> Run | None:
        """Carry out one run, if one can be claimed; the run as it ended."""
        run = self.store.runs.claim(self.owner, self.lease_seconds)
        if run is None:
            return None
        log.info("run %d started: trigger=%s attempt=%d", run.id, run.trigger, run.attempts)
        if run.mlflow_run_id:
            self.tracker.abandon(run.mlflow_run_id)
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

    def carry_out(self, run: Run) -> Run:
        """The run as it ended: carried out here, or by another trainer that was sooner.

        Raises:
            TrainingFailed: when it came to no verdict.
        """
        while run.state in ("requested", "running"):
            if self.carry_out_next() is None:
                time.sleep(SECONDS_BETWEEN_LOOKS)
            run = self.store.runs.get(run.id)
        if run.state == "coalesced" and run.coalesced_into is not None:
            return self.carry_out(self.store.runs.get(run.coalesced_into))
        if run.state == "failed":
            raise TrainingFailed(f"run {run.id} failed: {run.reason}")
        return run

    def unheard_rows(self) -> int:
        """How many feedback rows came since the champion was trained, or last examined."""
        champion = self.artifacts.champion_version()
        learned = self.artifacts.manifest(champion).feedback_row if champion else 0
        exams = [run.exam for run in self.store.runs.newest(RUNS_REMEMBERED) if run.exam]
        examined = [exam.folds[-1].last_row for exam in exams if exam.champion == champion and exam.folds]
        return self.store.feedback.rows() - max([learned, *examined])

    def beat(self) -> None:
        """Say that the store answers this trainer."""
        if self.pulse is not None:
            self.pulse.touch()

    def _carry_out(self, run: Run) -> None:
        champion = self.artifacts.load_champion()
        if champion.manifest.run_id == run.id:
            # A trainer died between moving the pointer and saying so.
            reason, manifest = self.artifacts.champion().reason, champion.manifest
            self._finish(run, Outcome("promoted", reason, run.exam, None, manifest))
            return
        self.store.runs.note(
            run, self.owner, parent_version=champion.version, progress="gathering rows", progress_share=0.0
        )
        reference, lesson = gather(
            self.store, preparation.load(self.data), champion, self.project.training.new_class_rows
        )
        if not len(lesson.rows):
            reason = f"no feedback since {champion.version} was trained: nothing to examine a challenger on"
            self._finish(run, Outcome("insufficient evidence", reason))
            return
        mlflow_run_id = self.tracker.start(f"retrain {run.id}")
        self.store.runs.note(run, self.owner, mlflow_run_id=mlflow_run_id)
        outcome = self._examine(run, champion, reference, lesson, mlflow_run_id)
        self._finish(run, outcome)
        self.tracker.record(
            _record(run, outcome, training.metric_of(self.project, champion.contract.target), mlflow_run_id)
        )

    def _examine(
        self, run: Run, champion: ModelVersion, reference: Preparation, lesson: Lesson, mlflow_run_id: str | None
    ) -> Outcome:
        """Hold the exam; publish the challenger unless it lost, and promote it if it won."""
        target, settings = reference.contract.target, self.project.training
        metric = training.metric_of(self.project, target)
        known = champion.model if target.n_classes is None else champion.model.widened(target.n_classes)
        try:
            result = examination.hold(
                lesson.newest(min(settings.max_rows, self.project.promotion.exam_rows)),
                known,
                champion.version,
                challengers(self.project, reference, champion, len(lesson.labels)),
                metric,
                self.project.promotion,
                self.store.runs.looks(champion.version) + 1,
                Engine(settings.engine),
                self._reporter(run),
            )
            if result.decision.verdict == "rejected":
                return Outcome("rejected", result.decision.reason, result.exam, result.recipe)
            # Before the version is seen: should this trainer die, its successor still knows what was decided on.
            self.store.runs.note(run, self.owner, exam=result.exam.model_dump_json(), progress="fitting on all rows")
            model = examination.learn(result.recipe, known, lesson)
        except NotEnoughData as reason:
            return Outcome("insufficient evidence", str(reason))
        lineage = Lineage(
            fingerprint=training.fingerprint(self.project, reference),
            metric=metric,
            verdict=result.decision.verdict,
            reason=result.decision.reason,
            parent_version=champion.version,
            feedback_row=int(lesson.rows[-1]),
            run_id=run.id,
            mlflow_run_id=mlflow_run_id,
        )
        metrics = {"exam": _figures(result.exam), HELD_OUT: training.test_scores(model, reference)}
        manifest = publish(self.artifacts, reference, self.project.project.name, result.recipe, model, metrics, lineage)
        return self._promote(run, result, manifest)

    def _promote(self, run: Run, result: Result, manifest: Manifest) -> Outcome:
        decision = result.decision
        if not decision.promote:
            return Outcome(decision.verdict, decision.reason, result.exam, result.recipe, manifest)
        # The fence: a trainer that slept past its lease must not promote what its successor is already deciding.
        self.store.runs.renew(run, self.owner, self.lease_seconds)
        try:
            self.artifacts.promote(
                manifest.version, replacing=manifest.parent_version, reason=decision.reason, actor=f"run {run.id}"
            )
        except ChampionMoved as moved:
            return Outcome("superseded", str(moved), result.exam, result.recipe)
        return Outcome("promoted", decision.reason, result.exam, result.recipe, manifest)

    def _finish(self, run: Run, outcome: Outcome) -> None:
        figures = _figures(outcome.exam) if outcome.exam else {}
        scores = {"metric": outcome.exam.metric, **figures} if outcome.exam else {}
        version = outcome.manifest.version if outcome.manifest else None
        self.store.runs.finish(
            run,
            self.owner,
            "finished",
            scores,
            verdict=outcome.verdict,
            reason=outcome.reason,
            version=version,
            strategy=outcome.recipe.name if outcome.recipe else None,
            exam=outcome.exam.model_dump_json() if outcome.exam else None,
        )
        log.info("run %d finished: verdict=%s version=%s %s", run.id, outcome.verdict, version, outcome.reason)

    def _fail(self, run: Run, reason: str) -> None:
        try:
            self.store.runs.finish(run, self.owner, "failed", {}, reason=reason)
            log.error("run %d failed: %s", run.id, reason)
            begun = self.store.runs.get(run.id).mlflow_run_id
            if begun:
                self.tracker.abandon(begun)
        except LeaseLost as lost:
            log.warning("%s", lost)

    def _reporter(self, run: Run) -> examination.Report:
        reported = 0.0

        def report(text: str, share: float) -> None:
            nonlocal reported
            if time.monotonic() - reported > SECONDS_BETWEEN_REPORTS:
                reported = time.monotonic()
                self.store.runs.note(run, self.owner, progress=text, progress_share=share)

        return report

    @contextmanager
    def _lease(self, run: Run) -> Iterator[None]:
        """Renew the lease until the work is done; a trainer that dies stops renewing, and is succeeded."""
        done, parent = threading.Event(), multiprocessing.parent_process()

        def renew() -> None:
            while not done.wait(self.lease_seconds / 3):
                if parent is not None and not parent.is_alive():
                    os._exit(1)  # nobody would stop this run at its time limit any more
                try:
                    self.store.runs.renew(run, self.owner, self.lease_seconds)
                    self.beat()
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


def _learnt_classes(store: Store, prepared: Preparation, champion: ModelVersion, new_class_rows: int) -> list[Label]:
    ours, theirs = prepared.contract.target, champion.contract.target
    if isinstance(ours, Quantity) and isinstance(theirs, Quantity) and ours.name == theirs.name:
        return []
    if not (isinstance(ours, Classes) and isinstance(theirs, Classes) and theirs.extends(ours)):
        raise NotPrepared(
            f"the champion {champion.version} predicts {theirs.name}, the reference data {ours.name}, or other classes "
            f"of it: run make train"
        )
    waiting = store.feedback.set_aside()
    enough = [label for label, rows in waiting.items() if rows >= new_class_rows and theirs.may_become_class(label)]
    return [*theirs.classes[len(ours.classes) :], *sorted(enough, key=str)]


def _can_be_fine_tuned(champion: ModelVersion, reference: Preparation) -> bool:
    return (
        champion.manifest.algorithm in models.FINE_TUNABLE
        and champion.embedding.fit_id == reference.embedding.fit_id
        and champion.contract.target.n_classes == reference.contract.target.n_classes
    )


def _figures(exam: Exam) -> dict[str, float]:
    figures = {"champion": exam.champion_score, "challenger": exam.challenger_score, "exam_rows": float(exam.rows)}
    return {name: value for name, value in figures.items() if value is not None}


def _record(run: Run, outcome: Outcome, metric: str, mlflow_run_id: str | None) -> Record:
    exam, manifest = outcome.exam, outcome.manifest
    bounds = {"difference": exam.difference, "lower": exam.lower, "upper": exam.upper} if exam else {}
    lineage = training.tags_of(manifest) if manifest else {}
    return Record(
        name=f"retrain {run.id}",
        mlflow_run_id=mlflow_run_id,
        started_at=datetime.fromisoformat(run.started_at or run.requested_at),
        finished_at=datetime.now(UTC),
        metric=metric,
        parameters={"recipe": outcome.recipe.name, **outcome.recipe.parameters} if outcome.recipe else {},
        metrics={**(_figures(exam) if exam else {}), **bounds},
        tags={"trigger": run.trigger, "verdict": outcome.verdict, "reason": outcome.reason, **lineage},
        exam=exam,
        version=manifest.version if manifest else None,
        alias=None if manifest is None else "champion" if outcome.verdict == "promoted" else "challenger",
    )
