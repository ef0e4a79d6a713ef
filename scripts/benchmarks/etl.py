"""What a large load costs: rows from a Parquet file to the lake, the warehouse, and the sample that is trained on.

Each step is the command itself in a process of its own, so that its peak of memory is its own.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import typer

PROJECT = """
[data]
source = "warehouse:visits"
query = "SELECT * FROM source USING SAMPLE reservoir({sample} ROWS) REPEATABLE (42)"
target = "bought"
drop = ["id", "day"]

[etl]
memory = "{memory}"

[[etl.sources]]
name = "visits"
kind = "files"
path = "visits.parquet"
key = ["id"]
cursor = "day"
columns = [
    {{ name = "id", type = "integer", minimum = 0 }},
    {{ name = "day", type = "timestamp" }},
    {{ name = "pages", type = "integer", minimum = 0 }},
    {{ name = "seconds", type = "number", minimum = 0 }},
    {{ name = "amount", type = "number", nullable = true }},
    {{ name = "channel", type = "text", categories = ["mail", "search", "shop", "social"] }},
    {{ name = "bought", type = "text", categories = ["no", "yes"] }},
]
"""
# One row in a thousand breaks the contract, one in five hundred comes twice.
VISITS = """
SELECT CASE WHEN i % 500 = 0 THEN i + 1 ELSE i END AS id,
       TIMESTAMP '2026-01-01' + INTERVAL (i) SECOND AS day,
       CASE WHEN i % 1000 = 7 THEN -1 ELSE (hash(i) % 30)::INTEGER END AS pages,
       (hash(i, 1) % 100000) / 100.0 AS seconds,
       CASE WHEN i % 11 > 0 THEN (hash(i, 2) % 1000000) / 100.0 END AS amount,
       ['mail', 'search', 'shop', 'social'][1 + (hash(i, 3) % 4)::INTEGER] AS channel,
       CASE WHEN hash(i, 4) % 3 = 0 THEN 'yes' ELSE 'no' END AS bought
FROM range({rows}) AS numbers(i)
"""
MEGABYTE = 2**20


def main(rows: int = 10_000_000, sample: int = 20_000, memory: str = "512MB") -> None:
    """Print seconds, peak memory and sizes."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as name:
        folder = Path(name)
        duckdb.execute(f"COPY ({VISITS.format(rows=rows)}) TO '{folder}/visits.parquet' (FORMAT parquet)")
        (folder / "project.toml").write_text(PROJECT.format(sample=sample, memory=memory), encoding="utf-8")
        typer.echo(f"{rows:,} rows, {_size(folder):,.0f} MB of Parquet, memory_limit {memory}")
        for step in ("etl", "prepare"):
            seconds, peak = _measured(step, folder)
            typer.echo(f"{step:8} {seconds:7.1f} s  peak {peak:,.0f} MB")
        typer.echo(f"lake {_size(folder / 'data' / 'lake'):,.0f} MB")
        typer.echo(f"warehouse {(folder / 'data' / 'warehouse.duckdb').stat().st_size / MEGABYTE:,.0f} MB")
        typer.echo(f"ref_data.csv {sum(1 for _ in (folder / 'data' / 'ref_data.csv').open('rb')) - 1:,} rows")


def _measured(step: str, folder: Path) -> tuple[float, float]:
    """Seconds, and the largest resident set in MB, of one command."""
    started = time.monotonic()
    script = (
        "import resource, sys; from boucle.cli import app\n"
        "try: app()\n"
        "finally: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )
    environment = {**os.environ, "BOUCLE_PROJECT": "project.toml", "BOUCLE_DATA": "data"}
    paths = os.pathsep.join(str(Path(path).resolve()) for path in sys.path if path)
    done = subprocess.run(  # noqa: S603  # ours
        [sys.executable, "-c", script, step],
        cwd=folder,
        env={**environment, "PYTHONPATH": paths},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr)
    kilobytes = float(done.stderr.split()[-1])
    return time.monotonic() - started, kilobytes / 1024


def _size(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*.parquet")) / MEGABYTE


if __name__ == "__main__":
    typer.run(main)
