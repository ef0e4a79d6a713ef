"""Run by `make bench`: every server side by side, in one run; writes bench/bench.md, bench.png and bench.json."""

import shutil
import signal
import sys
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from scripts.benchmarks.serving import load, machine
from scripts.benchmarks.serving.contenders import all_contenders
from scripts.benchmarks.serving.lab import Effort, Lab
from scripts.benchmarks.serving.machine import Cores
from scripts.benchmarks.serving.material import MODELS, Material
from scripts.benchmarks.serving.scenarios import SCENARIOS

Chosen = TypeVar("Chosen")
QUICK = Effort(
    rounds=1,
    seconds=2,
    patience_seconds=1,
    models=("linear",),
    rows=(5_000, 50_000),
    history=(1_000, 50_000),
    retraining_rows=2_000,
)
WHOLE = Effort(
    rounds=3,
    seconds=4,
    patience_seconds=5,
    models=tuple(MODELS),
    rows=(100_000, 1_000_000),
    history=(1_000, 1_000_000),
    retraining_rows=20_000,
)


def main(
    quick: Annotated[bool, typer.Option(help="One short round, small tables: a look, not a proof.")] = False,
    only: Annotated[str, typer.Option(help="Servers, by comma: boucle,naive,noop,mlflow,bentoml,…")] = "",
    scenario: Annotated[str, typer.Option(help=f"Scenarios, by comma: {','.join(SCENARIOS)}")] = "",
    output: Annotated[Path, typer.Option(help="Where the table, the plot and the JSON go.")] = Path("bench"),
    environments: Annotated[Path, typer.Option(help="Where the other tools are installed.")] = Path(".bench"),
) -> None:
    """Measure, and write what came out."""
    if not load.installed():
        sys.exit("wrk makes the load, and is not here (Debian: apt-get install wrk)")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    machine.adopt_orphans()
    environments = environments.resolve()
    contenders = _chosen(all_contenders(environments), only, "server")
    scenarios = _chosen(SCENARIOS, scenario, "scenario")
    effort, folder = QUICK if quick else WHOLE, environments / "run"
    shutil.rmtree(folder, ignore_errors=True)
    lab = Lab(Material(folder / "material"), contenders, Cores.of_this_machine(), effort, folder)
    try:
        lab.say(f"preparing data, fitting {', '.join(effort.models)}")
        lab.material.make(list(effort.models))
        for name, measure in scenarios.items():
            lab.say(f"scenario: {name}")
            measure(lab)
    finally:
        machine.end_everything()


def _chosen(known: dict[str, Chosen], names: str, kind: str) -> dict[str, Chosen]:
    wanted = [name.strip() for name in names.split(",") if name.strip()] or list(known)
    if unknown := set(wanted) - set(known):
        sys.exit(f"{', '.join(sorted(unknown))}: no such {kind}; there are {', '.join(known)}")
    return {name: known[name] for name in known if name in wanted}


if __name__ == "__main__":
    typer.run(main)
