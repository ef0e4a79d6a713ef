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
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from boucle.config import Places, Project, Recipients, load_project
from boucle.embedded import Ports, check_ports, wait_until_ready
from boucle.errors import BoucleError, ContractBroken, NotLoaded

# A command imports what it needs: checking a port must not cost the seconds that scikit-learn takes.
if TYPE_CHECKING:
    from boucle.pruning import Plan
    from boucle.retraining import Trainer
    from boucle.tracking import Tracker

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

READY_SECONDS = 120.0
REPORT_SECONDS = 60.0
LINES_SHOWN = 3
TRIGGER_SECONDS = 2.0
DRAIN_SECONDS = 60.0  # a server that accepts and never answers costs ten of them
MOMENTS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"]

# What an installation without extras does not bring along.
EXTRAS = {"mlflow": "tracking", "matplotlib": "tracking", "skops": "tracking", "requests": "demo", "river": "backtest"}
EXTRAS |= {"pyarrow": "score", "apprise": "notify", "distributed": "dask"}

AsJson = Annotated[bool, typer.Option("--json", help="One JSON value on standard output, for programs.")]
IfChanged = Annotated[bool, typer.Option("--if-changed", help="Do nothing when data and project.toml are as before.")]
PlotFolder = Annotated[Path | None, typer.Option(help="A folder for the tables and plots of what was compared.")]


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(metadata.version("boucle"))
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Predict, hear the truth, retrain, compare, deploy.

    Exit codes: 0 done; 1 refused or failed, one line says why; 2 wrong usage.
    """


def main() -> None:
    """Entry point: an error that was raised on purpose is one line, not a traceback."""
    try:
        app()
    except BoucleError as error:
        typer.secho(str(error), err=True, fg="red")
        sys.exit(1)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").split(".")[0])
        if extra is None:
            raise
        typer.secho(f"this needs {error.name}: pip install 'boucle[{extra}]'", err=True, fg="red")
        sys.exit(1)


@app.command()
def prepare(if_changed: IfChanged = False) -> None:
    """Embed the source into data/ref_data.csv."""
    from boucle import preparation

    project, places = _open()
    if if_changed and preparation.is_current(project, places.data, places.database):
        _say("prepare")("nothing changed")
    else:
        preparation.prepare(project, places.data, _say("prepare"), places.database)


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
    as_json: AsJson = False,
) -> None:
    """Take what is new of the sources into the lake, and load it into the warehouse."""
    from boucle.etl import inference, loading
    from boucle.etl.taking import Wanted

    project, places = _open()
    wanted, say = Wanted(limit, since, until, max_bytes), _say("etl")
    if infer:
        typer.echo(inference.infer(project.etl, wanted, source or (), os.environ))
        return
    report = partial(typer.echo, err=True) if as_json else say
    outcomes = loading.run(project.etl, places.data, wanted, source or (), os.environ, wait, report, places.database)
    if as_json:
        _print_json([asdict(outcome) for outcome in outcomes])
    failed = [outcome.source for outcome in outcomes if outcome.error]
    if failed:
        raise NotLoaded(f"{', '.join(failed)} not loaded; the message above says why")


@app.command()
def train(if_changed: IfChanged = False, plots: PlotFolder = None) -> None:
    """Prepare if data or project.toml changed, compare the candidates, make the best the champion."""
    from boucle import preparation, training
    from boucle.artifacts import Artifacts

    prepare(if_changed=True)
    project, places = _open()
    say, artifacts, prepared = _say("train"), Artifacts(places.artifacts), preparation.load(places.data)
    if if_changed and training.is_current(project, prepared, artifacts):
        say("nothing changed")
    else:
        training.train(project, prepared, artifacts, _tracker(project, places, plots), say, actor="make train")


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
def retrain(
    if_due: Annotated[
        bool, typer.Option("--if-due", help="Do nothing when fewer than feedback.k rows are new to the champion.")
    ] = False,
    plots: PlotFolder = None,
) -> None:
    """Examine challengers on the newest feedback, now and here; promote the one that wins."""
    say, made = _say("retrain"), _trainer(pulse=None, owner=None, plots=plots)
    unheard, due = made.unheard_rows(), max(made.project.feedback.k, 1)
    if if_due and unheard < due:
        say(f"nothing to do: {unheard} rows are new to the champion, of {due} that make a lesson")
        return
    _log()
    run = made.carry_out(made.store.runs.request("manual", trigger_reason="boucle retrain"))
    say(f"run {run.id}: {run.verdict}{f', {run.version}' if run.version else ''}: {run.reason}")


@app.command()
def contract() -> None:
    """Check that the prepared data still have the form that the champion's clients were promised."""
    from boucle import preparation
    from boucle.artifacts import Artifacts
    from boucle.contract import broken

    _, places = _open()
    say, artifacts, found = _say("contract"), Artifacts(places.artifacts), preparation.load(places.data).contract
    version = artifacts.champion_version()
    if version is None:
        say(f"{len(found.features)} columns; there is no champion yet that promised any")
        return
    breaks = broken(artifacts.load_served(version).contract, found)
    if breaks:
        raise ContractBroken(f"not what {version} promised: {'; '.join(breaks)}. If that is meant: make train")
    say(f"{len(found.features)} columns, all that {version} promised")


@app.command()
def drift() -> None:
    """Look at production now: what moved away from what the champion knows, and how good the answers were."""
    from boucle.artifacts import Artifacts
    from boucle.monitoring.observer import Observer
    from boucle.monitoring.summary import summary
    from boucle.store import open_store

    project, places = _open()
    say, artifacts = _say("drift"), Artifacts(places.artifacts)
    if artifacts.champion_version() is None:
        say("there is no champion yet to compare with")
        return
    store = open_store(places.database, places.data, project.feedback.k)
    seen = Observer(project, places.data, artifacts, store).look(datetime.now(UTC))
    for line in summary(seen) if seen else []:
        say(line)


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
    as_json: AsJson = False,
) -> None:
    """Print who was champion from when to when, and why; newest first."""
    from boucle.artifacts import Artifacts

    _, places = _open()
    artifacts, say = Artifacts(places.artifacts), _say("history")
    reigns = artifacts.reigns() if at is None else [artifacts.champion_at(at.replace(tzinfo=UTC))]
    if as_json:
        return _print_json([{**reign.promotion.model_dump(), "until": reign.until} for reign in reigns])
    for reign in reigns:
        one = reign.promotion
        say(f"{one.version:5} {one.promoted_at} to {reign.until or 'now'}: {one.reason} ({one.actor})")
    return None


@app.command()
def prune(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would go, and why the others stay.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Delete old predictions and versions that nothing needs, as the table retention of project.toml says."""
    from boucle import pruning
    from boucle.artifacts import Artifacts
    from boucle.store import open_store

    project, places = _open()
    say, artifacts = _say("prune"), Artifacts(places.artifacts)
    store = open_store(places.database, places.data, project.feedback.k)
    if dry_run:
        planned = pruning.plan(project, artifacts, store, datetime.now(UTC))
        return _print_json(asdict(planned)) if as_json else _tell_plan(planned)
    gone: list[pruning.Pruned] = []
    while not gone or not gone[-1].is_complete:
        gone.append(pruning.prune(project, artifacts, store, datetime.now(UTC)))
        if not as_json:
            say(f"{gone[-1].predictions:,} predictions and {', '.join(gone[-1].versions) or 'no version'} went")
    if as_json:
        versions = [version for one in gone for version in one.versions]
        _print_json({"predictions": sum(one.predictions for one in gone), "versions": versions})
    return None


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
def score(
    source: Annotated[str, typer.Argument(metavar="INPUT", help="A .csv, .csv.gz or .parquet file, or a table.")],
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="The same; postgresql://host/database?table=name.")],
    version: Annotated[str | None, typer.Option(help="Such as v3; without it, the champion.")] = None,
    max_rejected: Annotated[int, typer.Option(min=0, help="More rows that do not fit: exit code 1.")] = 0,
    replace_output: Annotated[bool, typer.Option("--replace", help="Put it in the place of what is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Predict every row of a table; killed, it goes on where it was when it is called again."""
    from boucle import scoring
    from boucle.artifacts import Artifacts

    places, say = Places(), _say("score")
    job = scoring.Job(scoring.source_of(source), scoring.sink_of(output, places.data), version, replace_output)
    with typer.progressbar(length=job.source.rows, label="score", show_pos=True, file=sys.stderr) as bar:
        summary = scoring.score(job, Artifacts(places.artifacts), bar.update)
    if as_json:
        _print_json(asdict(summary))
    else:
        say(f"{summary.scored:,} rows by {summary.model_version} in {summary.output}")
        if summary.rejected:
            say(f"{summary.rejected:,} rows do not fit: {summary.rejected_file}")
    if summary.rejected > max_rejected:
        raise typer.Exit(1)


@app.command()
def notify(
    title: str,
    text: str,
    status: Annotated[Literal["ok", "failed"], typer.Option(help="How it ended.")] = "ok",
) -> None:
    """Tell how something ended: on the terminal, and to whom BOUCLE_NOTIFY_URLS_FILE names."""
    from boucle import notifying

    say = _say("notify")
    say(f"{status}: {title}: {text}")
    told = notifying.send(notifying.Notification(title, text, status), Recipients())
    say(f"{told} told" if told else "nobody else is told: BOUCLE_NOTIFY_URLS_FILE names nobody")


@app.command()
def report() -> None:
    """Have the Evidently reports written now, and say where they are."""
    from boucle.monitoring.reports import check_reportable, request_report, wait_for_report

    data = Places().data
    check_reportable(data)
    say, asked = _say("report"), request_report(data)
    say("requested")
    wait_for_report(data, asked, REPORT_SECONDS)
    say(f"written: {Ports().urls['reports']}")


@app.command()
def diagnose(
    out: Annotated[Path, typer.Option(help="Folder for the page.")] = Path("diagnosis"),
) -> None:
    """Write a page on what is wrong in production: what moved since when, where quality was lost, what to do."""
    from boucle import files
    from boucle.artifacts import Artifacts
    from boucle.monitoring import diagnosis_page, evidence
    from boucle.monitoring.diagnose import diagnose as judge
    from boucle.store import open_store

    project, places = _open()
    store = open_store(places.database, places.data, project.feedback.k)
    now = datetime.now(UTC)
    found = judge(evidence.gather(project, places.data, Artifacts(places.artifacts), store, now))
    page = out / f"{now:%Y-%m-%dT%H-%M-%SZ}.html"
    files.replace(page, diagnosis_page.render(found).encode())
    for finding in found.findings[:LINES_SHOWN]:
        typer.echo(finding.text)
    typer.echo(page)


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
    from boucle import source
    from boucle.backtest import contest, session, terms

    project, places = _open()
    chosen = terms.Terms(data, target, _list(drop), query, metric, _list(candidates), reference)
    kinds = contest.chosen(_list(only), _list(without))
    replayed = terms.project_for(chosen, project)
    path = source.materialize(replayed, places.data, places.database)
    session.hold(terms.reading(replayed, path), kinds, batch, phases, out, _say("backtest"))


def _tell_plan(planned: "Plan") -> None:
    say = _say("prune")
    for fate in planned.versions:
        say(f"{fate.version:5} {f'stays: {fate.stays}' if fate.stays else 'would go'}")
    say(f"{planned.predictions:,} predictions would go")


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _drive(stack: Ports) -> None:
    from boucle import preparation
    from boucle.demo import drive

    drive(f"http://127.0.0.1:{stack.serving_port}", preparation.load(Places().data), typer.echo)


def _trainer(pulse: Path | None, owner: str | None, plots: Path | None = None) -> "Trainer":
    from boucle.artifacts import Artifacts
    from boucle.retraining import Trainer
    from boucle.store import open_store

    project, places = _open()
    store = open_store(places.database, places.data, project.feedback.k)
    tracker = _tracker(project, places, plots)
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


def _tracker(project: Project, places: Places, plots: Path | None = None) -> "Tracker":
    from boucle.artifacts import Artifacts
    from boucle.tracking import MLflowTracker

    return MLflowTracker(places.tracking, project.project.name, places.data, Artifacts(places.artifacts), plots)


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, default=str, ensure_ascii=False, indent=2))


def _say(step: str) -> Callable[[str], None]:
    return lambda message: typer.echo(f"{step:8} {message}")
