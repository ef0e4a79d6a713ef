"""Who takes part in a backtest, and the run of all of them over the same batches."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from boucle.backtest import replay, yardsticks
from boucle.backtest.stream import Stream, batches, read
from boucle.backtest.terms import shuffled
from boucle.backtest.trial import Learner, Progress, Trial
from boucle.backtest.trial import replay as try_out
from boucle.config import Project
from boucle.errors import InvalidProject
from boucle.preparation import Report

LOOP = "the loop"
KINDS = ("loop", "frozen", "recipes", "river", "yardsticks")


@dataclass(frozen=True)
class Entry:
    """A learner that takes part; ``stream`` is the file's, or the shuffled one."""

    name: str
    kind: str
    stream: Stream
    begin: Callable[[], Learner]


@dataclass(frozen=True)
class Result:
    """An entry's trials, one a phase, judged by ``metric``."""

    name: str
    kind: str
    metric: str
    stream: Stream
    trials: tuple[Trial, ...]

    def overall(self, trial: Trial) -> float:
        """The metric pooled over every row behind the reference."""
        return replay.score(self.metric, self.stream.test_labels, trial.answers)

    def by_batch(self, trial: Trial, around: int = 0) -> list[float]:
        """The metric on each batch, pooled with as many batches on each side as ``around`` says."""
        bounds, last = trial.batches, len(trial.batches) - 1
        return [
            self._between(trial, bounds[max(0, number - around)].start, bounds[min(last, number + around)].stop)
            for number in range(len(bounds))
        ]

    @property
    def score(self) -> float:
        """The pooled metric, mean over the phases."""
        return float(np.mean([self.overall(trial) for trial in self.trials]))

    @property
    def batch_mean(self) -> float:
        """The mean of the batches' metrics, mean over the phases; a batch where it is not defined is left out."""
        return float(np.mean([np.nanmean(self.by_batch(trial)) for trial in self.trials]))

    @property
    def promotions(self) -> float:
        """How often a challenger was promoted, mean over the phases."""
        return float(np.mean([len(trial.promotions) for trial in self.trials]))

    @property
    def seconds(self) -> float:
        """What a replay took behind the reference rows, mean over the phases."""
        return float(np.mean([trial.seconds for trial in self.trials]))

    def _between(self, trial: Trial, start: int, stop: int) -> float:
        begin, end = start - self.stream.reference, stop - self.stream.reference
        return replay.score(self.metric, self.stream.test_labels[begin:end], trial.answers[begin:end])


def ranked(results: Sequence[Result]) -> list[Result]:
    """Best first."""
    return sorted(results, key=lambda result: result.score, reverse=not replay.lower_is_better(results[0].metric))


def chosen(only: Sequence[str], without: Sequence[str]) -> set[str]:
    """The kinds of learners that take part.

    Raises:
        InvalidProject: when there is no such kind, or none is left.
    """
    unknown = [name for name in (*only, *without) if name not in KINDS]
    kinds = set(only or KINDS) - set(without)
    if unknown or not kinds:
        raise InvalidProject(
            f"--only, --without: {', '.join(unknown) or 'nothing is left'}; there are {', '.join(KINDS)}"
        )
    return kinds


def entries(project: Project, stream: Stream, kinds: set[str], folder: Path, report: Report) -> Iterator[Entry]:
    """The learners of these kinds, cheap ones first; their projects are trained in ``folder``."""
    if "yardsticks" in kinds:
        for name, begin in yardsticks.learners(stream, replay.metric_of(project, stream)).items():
            yield Entry(name, "yardsticks", stream, begin)
    if kinds & {"frozen", "recipes", "loop"}:
        trained = replay.train(project, folder / "first", report)
        if "frozen" in kinds:
            yield Entry("frozen", "frozen", stream, replay.frozen(stream, trained))
        if "recipes" in kinds:
            for name, begin in replay.recipes_alone(stream, trained).items():
                yield Entry(name, "recipes", stream, begin)
        if "loop" in kinds:
            yield Entry(LOOP, "loop", stream, replay.loop(stream, trained, folder / "loop"))
    if "yardsticks" in kinds:
        other = shuffled(project)
        mixed = read(other, folder)
        trained = replay.train(other, folder / "shuffled", report)
        yield Entry("frozen, rows shuffled (no drift)", "yardsticks", mixed, replay.frozen(mixed, trained))
    if "river" in kinds:
        from boucle.backtest import streaming  # its import takes seconds

        for name, begin in streaming.learners(stream, project.training.seed).items():
            yield Entry(name, "river", stream, begin)


def run(entry: Entry, metric: str, size: int, phases: int, progress: Callable[[str], Progress]) -> Result:
    """The entry's trial in every phase: the batch boundaries of each are shifted against the last."""
    trials = []
    for phase in range(phases):
        name = f"{entry.name} ({phase + 1}/{phases})" if phases > 1 else entry.name
        trials.append(try_out(entry.begin, batches(entry.stream, size, phase / phases), progress(name)))
    return Result(entry.name, entry.kind, metric, entry.stream, tuple(trials))
