"""A backtest from beginning to end: read, replay everybody, print and write what came of it."""

import sys
import tempfile
from collections import Counter
from pathlib import Path

from boucle import files, source
from boucle.backtest import contest, plot, replay, report
from boucle.backtest.contest import Result
from boucle.backtest.stream import batches, read, usual_size
from boucle.backtest.trial import Progress
from boucle.config import Project
from boucle.preparation import Report

PICTURE = "backtest.png"
QUIET_SECONDS = 10.0


def hold(project: Project, kinds: set[str], batch: int, phases: int, out: Path, say: Report) -> list[Result]:
    """Replay ``project.data.source`` with every learner of ``kinds``; ``batch`` 0 makes about thirty batches.

    What is known so far is written to ``out`` whenever a learner has finished.

    Raises:
        BoucleError: when the file, or what the project says of it, cannot be used.
    """
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="boucle-backtest-") as folder:
        path = source.materialize(project, Path(folder))
        stream = read(project, Path(folder))
        size = batch or usual_size(stream)
        number = len(batches(stream, size))
        say(f"{path.name}: {stream.reference:,} reference rows, then {number} batches of {size:,}")
        for entry in contest.entries(project, stream, kinds, Path(folder), say):
            result = contest.run(
                entry, replay.metric_of(project, entry.stream), size, phases, lambda name: _progress(name, say)
            )
            say(f"{entry.name}: {result.metric} {result.score:.4f}, {result.seconds:.1f} s{_decided(result)}")
            results.append(result)
            report.write(out, project, path, size, results)
            files.replace(
                out / PICTURE, plot.draw(results, f"{path.name.split('.')[0]}: who would have predicted best?")
            )
    say(f"{out / PICTURE}, scores.csv and backtest.json written\n\n{report.table(results)}")
    return results


def _decided(result: Result) -> str:
    """How often each verdict was given: a loop whose runs fail must not look like one that kept its champion."""
    counts = Counter(verdict.verdict for trial in result.trials for verdict in trial.verdicts)
    return "".join(f"; {number} {verdict}" for verdict, number in counts.most_common())


def _progress(name: str, say: Report) -> Progress:
    """On a terminal one line that is written over; elsewhere a line whenever ten seconds have passed."""
    said = 0.0

    def tell(done: int, batches: int, seconds: float) -> None:
        nonlocal said
        left = seconds / done * (batches - done)
        line = f"{name}: batch {done} of {batches}, {seconds:.0f} s, about {left:.0f} s to go"
        if sys.stdout.isatty():
            sys.stdout.write(f"\r\x1b[K{line}" if done < batches else "\r\x1b[K")
            sys.stdout.flush()
        elif seconds - said >= QUIET_SECONDS:
            said = seconds
            say(line)

    return tell
