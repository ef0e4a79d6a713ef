"""Run by `make bench`: every server side by side, in one run; writes bench/bench.md, bench.png and bench.json."""

import os
import shutil
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from scripts.benchmarks.serving import environments, load, machine, plot
from scripts.benchmarks.serving.contenders import PEERS, all_contenders
from scripts.benchmarks.serving.lab import Effort, Lab
from scripts.benchmarks.serving.machine import Cores
from scripts.benchmarks.serving.material import MODELS, Material
from scripts.benchmarks.serving.report import Run, as_json, as_markdown
from scripts.benchmarks.serving.scenarios import SCENARIOS

Chosen = TypeVar("Chosen")
QUICK = Effort(
    rounds=1,
    seconds=2,
    patience_seconds=0,
    models=("linear",),
    rows=(20_000, 200_000),
    history=(1_000, 50_000),
    retraining_rows=2_000,
)
WHOLE = Effort(
    rounds=3,
    seconds=4,
    patience_seconds=2,
    models=tuple(MODELS),
    rows=(100_000, 1_000_000),
    history=(1_000, 1_000_000),
    retraining_rows=20_000,
)


def main(
    quick: Annotated[bool, typer.Option(help="One short round, small tables: a look, not a proof.")] = False,
    only: Annotated[str, typer.Option(help="Servers, by comma, beside Boucle: naive,noop,mlflow,bentoml,…")] = "",
    scenario: Annotated[str, typer.Option(help=f"Scenarios, by comma: {','.join(SCENARIOS)}")] = "",
    output: Annotated[Path, typer.Option(help="Where the table, the plot and the JSON go.")] = Path("bench"),
    folder: Annotated[Path, typer.Option(help="Where it works, and installs the other tools.")] = Path(".bench"),
) -> None:
    """Measure, and write what came out."""
    if not load.installed():
        sys.exit("wrk makes the load, and is not here (Debian: apt-get install wrk)")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    machine.adopt_orphans()
    folder = folder.resolve()
    contenders = _chosen(all_contenders(folder), only and f"boucle,{only}", "server")
    scenarios = _chosen(SCENARIOS, scenario, "scenario")
    effort, work = QUICK if quick else WHOLE, folder / "run"
    shutil.rmtree(work, ignore_errors=True)
    lab = Lab(Material(work / "material"), contenders, Cores.of_this_machine(), effort, work)
    try:
        lab.say(f"preparing data, fitting {', '.join(effort.models)}")
        lab.material.make(list(effort.models))
        for name, measure in scenarios.items():
            lab.say(f"scenario: {name}")
            with lab.attempt(name, "boucle"):
                measure(lab)
    finally:
        machine.end_everything()
        shutil.rmtree(lab.material.folder, ignore_errors=True)
        # Also what an interrupted run has measured: the rest of its table says so.
        if lab.measurements:
            _write(lab, output, folder, _command(quick, only, scenario))


def _command(quick: bool, only: str, scenario: str) -> str:
    """How the run is repeated, wherever its output went."""
    named = [f"--{name} {value}" for name, value in (("only", only), ("scenario", scenario)) if value]
    options = [*(["--quick"] if quick else []), *named]
    return f'make bench OPTIONS="{" ".join(options)}"' if options else "make bench"


def _write(lab: Lab, output: Path, folder: Path, command: str) -> None:
    installed = {name: environments.packages(folder / name) for name in ("naive", *PEERS) if name in lab.contenders}
    run = Run(
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        commit=os.environ.get("BOUCLE_GIT_COMMIT", "unknown")[:12],
        command=command,
        machine=machine.description(),
        titles={name: contender.title for name, contender in lab.contenders.items()},
        measurements=lab.measurements,
        failures=lab.failures,
        packages=installed,
    )
    output.mkdir(parents=True, exist_ok=True)
    (output / "bench.md").write_text(as_markdown(run))
    (output / "bench.json").write_text(as_json(run))
    plot.draw(run, output / "bench.png")
    typer.echo(f"\n{as_markdown(run)}\nalso in {output}: bench.md, bench.png, bench.json")


def _chosen(known: dict[str, Chosen], names: str, kind: str) -> dict[str, Chosen]:
    wanted = [name.strip() for name in names.split(",") if name.strip()] or list(known)
    if unknown := set(wanted) - set(known):
        sys.exit(f"{', '.join(sorted(unknown))}: no such {kind}; there are {', '.join(known)}")
    return {name: known[name] for name in known if name in wanted}


if __name__ == "__main__":
    typer.run(main)
