"""The `boucle` command: parse, call one use case, print."""

import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from boucle.config import Places, Project, load_project
from boucle.embedded import Ports, check_ports, wait_until_ready
from boucle.errors import BoucleError, NotLoaded

# A command imports what it needs: checking a port must not cost the seconds that scikit-learn takes.
if TYPE_CHECKING:
    from boucle.retraining import Trainer
    from boucle.tracking import Tracker

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

READY_SECONDS = 120.0
REPORT_SECONDS = 60.0
TRIGGER_SECONDS = 2.0
DRAIN_SECONDS = 60.0  # a server that accepts and never answers costs ten of them
MOMENTS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"]

IfChanged = Annotated[bool, typer.Option("--if-changed", help="Do nothing when data and project.toml are as before.")]


def main() -> None:
    """Entry point: an error that was raised on purpose is one line, not a traceback."""
    try:
        app()
    except BoucleError as error:
        typer.secho(str(error), err=True, fg="red")
        sys.exit(1)


@app.command()
def prepare(if_changed: IfChanged = False) -> None:
    """Embed the source into data/ref_data.csv."""
    from boucle import preparation

    project, places = _open()
    if if_changed and preparation.is_current(project, places.data):
        _say("prepare")("nothing changed")
    else:
        preparation.prepare(project, places.data, _say("prepare"))


@app.command()
def etl(
    source: Annotated[list[str] | None, typer.Option(help="Only this one; may be given again.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Rows of each source at most.")] = None,
    since: Annotated[str, typer.Option(help="Only rows whose cursor is not below this.")] = "",
    until: Annotated[str, typer.Option(help="Only rows whose cursor is below this.")] = "",
    max_bytes: Annotated[int | None, typer.Option(min=1, help="Bytes of each source at most.")] = None,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for another load.")] = 600.0,
    infer: Annotated[
        bool, typer.Option("--infer", help="Load nothing: print the contract that the rows fulfil.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what was done as JSON; progress goes to stderr.")
    ] = False,
) -> None:
    """Take what is new of the sources into the lake, and load it into the warehouse."""
    from boucle import etl as loading
    from boucle.etl import inference
    from boucle.etl.taking import Wanted

    project, places = _open()
    wanted, say = Wanted(limit, since, until, max_bytes), _say("etl")
    if infer:
        typer.echo(inference.infer(project.etl, wanted, source or (), os.environ))
        return
    report = partial(typer.echo, err=True) if as_json else say
    outcomes = loading.run(project.etl, places.data, wanted, source or (), os.environ, wait, report, places.database)
    if as_json:
        typer.echo(json.dumps([asdict(outcome) for outcome in outcomes], indent=2, default=datetime.isoformat))
    failed = [outcome.source for outcome in outcomes if outcome.error]
    if failed:
        raise NotLoaded(f"{', '.join(failed)} not loaded; the message above says why")


@app.command()
def train(if_changed: IfChanged = False) -> None:
    """Prepare if data or project.toml changed, compare the candidates, make the best the champion."""
    from boucle import preparation, training
    from boucle.artifacts import Artifacts

    prepare(if_changed=True)
    project, places = _open()
    say, artifacts, prepared = _say("train"), Artifacts(places.artifacts), preparation.load(places.data)
    if if_changed and training.is_current(project, prepared, artifacts):
        say("nothing changed")
    else:
        training.train(project, prepared, artifacts, _tracker(project, places), say, actor="make train")


@app.command()
def trainer(
    pulse: Annotated[
        Path | None, typer.Option(help="A file to touch while the trainer lives: for a health check.")
    ] = None,
) -> None:
    """Carry out training requests as they come, for ever."""
    from boucle.supervision import Chore, Supervisor
    from boucle.tracking.follower import AliasFollower
    from boucle.triggers import Triggers

    # Predictions come first: training takes the processor time that serving leaves.
    os.nice(10)
    _log()
    # As an exit and not a death: the run under way is ended with its supervisor.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    made = _trainer(pulse, owner=None)
    triggers = Triggers(made.project, made.data, made.artifacts, made.store)
    Supervisor(
        runs=made.store.runs,
        artifacts=made.artifacts,
        owner=made.owner,
        time_limit_seconds=made.project.training.time_limit_seconds,
        carry_out_next=partial(_carry_out_next, pulse, made.owner),
        chores=[
            Chore(TRIGGER_SECONDS, lambda: triggers.check(datetime.now(UTC))),
            Chore(TRIGGER_SECONDS, AliasFollower(made.tracker, made.artifacts).check),
            Chore(DRAIN_SECONDS, made.tracker.drain),
        ],
        beat=made.beat,
    ).work()


@app.command()
def promote(version: str, reason: str = "by hand", actor: str = "command line") -> None:
    """Make a version the champion: the next one, or an old one again."""
    from boucle.artifacts import Artifacts

    _, places = _open()
    artifacts = Artifacts(places.artifacts)
    before = artifacts.champion_version()
    artifacts.promote(version, replacing=before, reason=reason, actor=actor)
    replaced = f"it replaced {before}" if before else "there was none before"
    _say("promote")(f"{version} is the champion; {'it was already' if before == version else replaced}")


@app.command()
def history(
    at: Annotated[datetime | None, typer.Option(formats=MOMENTS, help="Only who was champion then; UTC.")] = None,
) -> None:
    """Print who was champion from when to when, and why; newest first."""
    from boucle.artifacts import Artifacts

    _, places = _open()
    artifacts, say = Artifacts(places.artifacts), _say("history")
    for reign in artifacts.reigns() if at is None else [artifacts.champion_at(at.replace(tzinfo=UTC))]:
        one = reign.promotion
        say(f"{one.version:5} {one.promoted_at} to {reign.until or 'now'}: {one.reason} ({one.actor})")


@app.command()
def prune(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would go, and why the others stay.")
    ] = False,
) -> None:
    """Delete old predictions and versions that nothing needs, by [retention] of project.toml."""
    from boucle import pruning
    from boucle.artifacts import Artifacts
    from boucle.store import open_store

    project, places = _open()
    say, artifacts = _say("prune"), Artifacts(places.artifacts)
    store = open_store(places.database, places.data, project.feedback.k)
    if dry_run:
        planned = pruning.plan(project, artifacts, store, datetime.now(UTC))
        for fate in planned.versions:
            say(f"{fate.version:5} {f'stays: {fate.stays}' if fate.stays else 'would go'}")
        say(f"{planned.predictions:,} predictions would go")
        return
    is_complete = False
    while not is_complete:
        pruned = pruning.prune(project, artifacts, store, datetime.now(UTC))
        is_complete = pruned.is_complete
        say(f"{pruned.predictions:,} predictions and {', '.join(pruned.versions) or 'no version'} went")


@app.command()
def ports() -> None:
    """Check that every port of the stack is free."""
    check_ports(Ports())


@app.command()
def ready(with_demo: Annotated[bool, typer.Option(envvar="BOUCLE_DEMO")] = False) -> None:
    """Wait for the stack, print where to look, and stay: the last process line of `make run`."""
    stack = Ports()
    wait_until_ready(stack, READY_SECONDS, typer.echo)
    typer.echo("\nBoucle runs. Ctrl-C stops it.")
    for name, url in stack.urls.items():
        typer.echo(f"  {name:8} {url}")
    if with_demo:
        _drive(stack)
    signal.pause()


@app.command()
def report() -> None:
    """Have the Evidently reports written now, and say where they are."""
    from boucle.monitoring.reports import request_report, wait_for_report

    data = Places().data
    say, asked = _say("report"), request_report(data)
    say("requested")
    wait_for_report(data, asked, REPORT_SECONDS)
    say(f"written: {Ports().urls['reports']}")


@app.command()
def demo() -> None:
    """Drive realistic traffic through the running stack."""
    _drive(Ports())


@app.command()
def backtest(
    data: Annotated[str, typer.Argument(help="A labelled file in time order; without one, the project's source.")] = "",
    target: Annotated[str, typer.Option(help="The column to predict, if it is not the project's.")] = "",
    drop: Annotated[str, typer.Option(help="Columns that are no features: a,b,c")] = "",
    query: Annotated[str, typer.Option(help="SQL over the table `source`.")] = "",
    metric: Annotated[str, typer.Option(help="What judges, if it is not the project's.")] = "",
    candidates: Annotated[str, typer.Option(help="Algorithms, if they are not the project's: a,b,c")] = "",
    reference: Annotated[float, typer.Option(help="Share of the rows that is learnt before the replay.")] = 0.2,
    batch: Annotated[int, typer.Option(min=0, help="Rows a batch; 0 makes about 30 batches.")] = 0,
    phases: Annotated[int, typer.Option(min=1, help="Repeat with shifted batches; the figures are means.")] = 1,
    only: Annotated[str, typer.Option(help="Of loop,frozen,recipes,river,yardsticks.")] = "",
    without: Annotated[str, typer.Option(help="As --only, to leave out.")] = "",
    out: Annotated[Path, typer.Option(help="Folder for the picture and the figures.")] = Path("backtest"),
) -> None:
    """Replay a file through the loop, batch by batch, beside its rivals: who would have predicted best?"""
    from boucle.backtest import contest, session, terms

    project, _ = _open()
    chosen = terms.Terms(data, target, _list(drop), query, metric, _list(candidates), reference)
    kinds = contest.chosen(_list(only), _list(without))
    session.hold(terms.project_for(chosen, project), kinds, batch, phases, out, _say("backtest"))


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _drive(stack: Ports) -> None:
    from boucle import preparation
    from boucle.demo import drive

    drive(f"http://127.0.0.1:{stack.serving_port}", preparation.load(Places().data), typer.echo)


def _trainer(pulse: Path | None, owner: str | None) -> "Trainer":
    from boucle.artifacts import Artifacts
    from boucle.retraining import Trainer
    from boucle.store import open_store

    project, places = _open()
    store = open_store(places.database, places.data, project.feedback.k)
    tracker = _tracker(project, places)
    made = Trainer(project, places.data, Artifacts(places.artifacts), store, tracker, pulse=pulse)
    return made if owner is None else replace(made, owner=owner)


def _carry_out_next(pulse: Path | None, owner: str) -> None:
    """What a child process of the trainer does."""
    from boucle import pruning

    _log()
    trainer = _trainer(pulse, owner)
    trainer.carry_out_next()
    pruning.prune(trainer.project, trainer.artifacts, trainer.store, datetime.now(UTC))


def _log() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")


def _open() -> tuple[Project, Places]:
    places = Places()
    return load_project(places.project), places


def _tracker(project: Project, places: Places) -> "Tracker":
    from boucle.artifacts import Artifacts
    from boucle.tracking import MLflowTracker

    return MLflowTracker(places.tracking, project.project.name, places.data, Artifacts(places.artifacts))


def _say(step: str) -> Callable[[str], None]:
    return lambda message: typer.echo(f"{step:8} {message}")
