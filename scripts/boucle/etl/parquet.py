"""Rows of the warehouse as a Parquet file: the same rows give the same bytes, wherever they stood."""

import os
from pathlib import Path

import duckdb

from boucle.etl.transformations import literal


def write(connection: duckdb.DuckDBPyConnection, select: str, path: Path, memory: str) -> None:
    """Put what ``select``, in SQL, gives at ``path``: whole or not at all, in its order; ``memory`` limits DuckDB."""
    aside, spill = (path.with_name(f".{path.name}.{os.getpid()}{end}") for end in ("", ".spill"))
    # Threads would share out the row groups anew each time.
    connection.execute(f"SET threads = 1; SET memory_limit = {literal(memory)}; SET temp_directory = {literal(spill)}")
    try:
        # Through a table of its own: else row groups are cut by how the rows were once loaded, deleted or read.
        connection.execute(f"CREATE TEMP TABLE written AS {select}")
        connection.execute(f"COPY written TO {literal(aside)} (FORMAT parquet)")
        connection.execute("DROP TABLE written")
        aside.rename(path)
    finally:
        aside.unlink(missing_ok=True)
