"""The `boucle` command: parse, call one use case, print."""

import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from boucle.config import Places, Project, load_project
from boucle.embedded import Ports, check_ports, wait_until_ready
from boucle.errors import BoucleError

# A command imports what it needs: checking a port must not cost the seconds that scikit-learn takes.
if TYPE_CHECKING:
    from boucle.tracking import Tracker

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

READY_SECONDS = 120.0

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
    from boucle.artifacts import Artifacts
    from boucle.retraining import Trainer
    from boucle.store import open_store

    # Predictions come first: training takes the processor time that serving leaves.
    os.nice(10)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    project, places = _open()
    store = open_store(places.database, places.data, project.feedback.k)
    Trainer(project, places.data, Artifacts(places.artifacts), store, _tracker(project, places), pulse=pulse).work()


@app.command()
def promote(version: str, reason: str = "by hand", actor: str = "command line") -> None:
    """Make a version the champion: the next one, or an old one again."""
    from boucle.artifacts import Artifacts

    _, places = _open()
    artifacts = Artifacts(places.artifacts)
    before = artifacts.champion_version()
    artifacts.promote(version, replacing=before, reason=reason, actor=actor)
    _say("promote")(f"{version} is the champion; it was {before}")


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


def _open() -> tuple[Project, Places]:
    places = Places()
    return load_project(places.project), places


def _tracker(project: Project, places: Places) -> "Tracker":
    from boucle.tracking import MLflowTracker

    return MLflowTracker(places.tracking, project.project.name, places.data)


def _say(step: str) -> Callable[[str], None]:
    return lambda message: typer.echo(f"{step:8} {message}")
