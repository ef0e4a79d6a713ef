"""`python -m scripts.benchmarks.drift`: two tables and a picture."""

import json
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from boucle.drift.concept import change
from scripts.benchmarks.drift import rows
from scripts.benchmarks.drift.picture import draw
from scripts.benchmarks.drift.rows import Scenario
from scripts.benchmarks.drift.verdicts import VERDICTS, verdicts

SIZES = (50, 200, 1_000)
WINDOW = 500
STEP = 25
REFERENCE = 500
RATES = (0.1, 0.3, 0.5)
Delays = dict[str, list[float]]


def main(
    datasets: Annotated[Path | None, typer.Option(help="A folder with the other data sets, see docs/drift.md.")] = None,
    windows: Annotated[int, typer.Option(help="Windows without drift, for each size.")] = 1_000,
    streams: Annotated[int, typer.Option(help="Streams with a change, for each kind.")] = 10,
    workers: int = 2,
    out: Path = Path("bench"),
) -> None:
    """Print the tables as Markdown; write the delays and their picture to ``out``."""
    with ProcessPoolExecutor(workers) as pool:
        typer.echo(_false_alarms_of_errors(windows) if windows else "")
        for scenario in rows.calm(datasets) if windows else []:
            found = {
                size: list(pool.map(partial(calm_window, scenario, size), range(windows), chunksize=25))
                for size in SIZES
            }
            typer.echo(_false_alarm_table(scenario.name, found))
        delays: dict[str, Delays] = {}
        for scenario in rows.changing(datasets) if streams else []:
            delays[scenario.name] = _by_verdict(pool.map(partial(delay, scenario), range(streams)))
            _write(out, delays)
    typer.echo(_delay_table(delays) if delays else "")


def calm_window(scenario: Scenario, size: int, seed: int) -> dict[str, bool]:
    """The verdicts on a window that comes from where its reference comes from."""
    random = np.random.default_rng([seed, size])
    drawn = scenario.rows.take(scenario.draw(scenario.before, REFERENCE + size, random))
    reference, current = (drawn.take(np.arange(*ends)) for ends in ((0, REFERENCE), (REFERENCE, REFERENCE + size)))
    return verdicts(reference, current, current.errors, seed)


def delay(scenario: Scenario, seed: int) -> dict[str, float]:
    """How many rows after the change each verdict first speaks; infinite when it does not within a window."""
    random = np.random.default_rng(seed)
    before = scenario.draw(scenario.before, REFERENCE + WINDOW, random)
    after = scenario.draw(scenario.after, WINDOW, random)
    reference = scenario.rows.take(before[:REFERENCE])
    stream = np.concatenate([before[REFERENCE:], after])
    first = dict.fromkeys(VERDICTS, np.inf)
    for rows_after in range(STEP, WINDOW + 1, STEP):
        window = scenario.rows.take(stream[rows_after : rows_after + WINDOW])
        found = verdicts(reference, window, window.errors, seed)
        first = {name: min(rows, rows_after if found[name] else np.inf) for name, rows in first.items()}
    return first


def _write(out: Path, delays: dict[str, Delays]) -> None:
    out.mkdir(exist_ok=True)
    (out / "drift.json").write_text(json.dumps(delays, indent=1))  # never is Infinity, as Python writes it
    (out / "drift.svg").write_bytes(draw(delays, WINDOW))


def _by_verdict(found: Iterable[dict[str, float]]) -> Delays:
    streams = list(found)
    return {name: [stream[name] for stream in streams] for name in VERDICTS}


def _false_alarms_of_errors(windows: int) -> str:
    lines = ["\n| errors of a classifier that is wrong in … | 50 | 200 | 500 | 1,000 | 2,000 |", "|---" * 6 + "|"]
    for rate in RATES:
        shares = [_share_of_changes(rate, size, windows) for size in (50, 200, WINDOW, 1_000, 2_000)]
        lines.append(f"| {rate:.0%} | " + " | ".join(f"{share:.1%}" for share in shares) + " |")
    return "\n".join(lines)


def _share_of_changes(rate: float, size: int, windows: int) -> float:
    random = np.random.default_rng(size)
    return float(np.mean([change((random.random(size) < rate).tolist()).changed for _ in range(windows)]))


def _false_alarm_table(name: str, found: dict[int, list[dict[str, bool]]]) -> str:
    lines = [f"\n| {name} | " + " | ".join(f"{size:,}" for size in found) + " |", "|---" * (1 + len(found)) + "|"]
    for verdict in next(iter(found.values()))[0]:
        shares = [np.mean([window[verdict] for window in windows]) for windows in found.values()]
        lines.append(f"| {verdict} | " + " | ".join(f"{share:.1%}" for share in shares) + " |")
    return "\n".join(lines)


def _delay_table(delays: dict[str, Delays]) -> str:
    lines = ["\n| rows until it is seen | " + " | ".join(delays) + " |", "|---" * (1 + len(delays)) + "|"]
    for verdict in VERDICTS:
        cells = [_cell(scenario[verdict]) for scenario in delays.values()]
        lines.append(f"| {verdict} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(delays: list[float]) -> str:
    seen = np.isfinite(delays)
    if not seen.any():
        return "never"
    return f"{np.median(np.array(delays)[seen]):.0f}" + ("" if seen.all() else f" ({seen.mean():.0%})")


if __name__ == "__main__":
    typer.run(main)
