"""Raw batches as Parquet, never changed: data/lake/source=<name>/date=<day>/batch-<id>.parquet."""

import os
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

import duckdb

from boucle import files
from boucle.errors import CorruptArtifact
from boucle.etl.batch import Batch, Provenance

METADATA_KEY = "boucle"

Check = Callable[[Path, tuple[str, ...]], None]


class Lake:
    """The folder, written by one process at a time."""

    def __init__(self, root: Path, connection: duckdb.DuckDBPyConnection) -> None:
        self._root = root
        self._connection = connection
        self._aside = root / ".aside"

    def clear_aside(self) -> Path:
        """The folder for what is not whole yet, emptied: a process that died has left its parts there."""
        shutil.rmtree(self._aside, ignore_errors=True)
        self._aside.mkdir(parents=True)
        return self._aside

    def batches(self, source: str, known: Collection[str] = ()) -> list[Batch]:
        """The source's batches in the order in which they were taken, but for those ``known``."""
        paths = (self._root / f"source={source}").glob("date=*/batch-*.parquet")
        found = [self._read(path) for path in paths if path.stem.removeprefix("batch-") not in known]
        return sorted(found, key=lambda batch: batch.provenance.number)

    def land(self, select: str, provenance: Provenance, check: Check) -> Batch:
        """Write what ``select``, in SQL, gives: whole, or nothing at all; ``check`` may refuse it by raising.

        Rows keep their order.
        """
        folder = self._root / f"source={provenance.source}" / f"date={provenance.taken_at[:10]}"
        aside = self._aside / f"{provenance.batch}.parquet"
        metadata = provenance.model_dump_json().replace("'", "''")
        try:
            self._connection.execute(
                f"COPY ({select}) TO '{_escaped(aside)}' "
                f"(FORMAT parquet, COMPRESSION zstd, KV_METADATA {{{METADATA_KEY}: '{metadata}'}})"
            )
            check(aside, self._columns(aside))
            with aside.open("rb") as file:
                os.fsync(file.fileno())
            folder.mkdir(parents=True, exist_ok=True)
            path = aside.rename(folder / f"batch-{provenance.batch}.parquet")
            files.sync_directory(folder)
        finally:
            aside.unlink(missing_ok=True)
        return self._read(path)

    def _read(self, path: Path) -> Batch:
        found = self._connection.execute(
            f"SELECT decode(value) FROM parquet_kv_metadata('{_escaped(path)}') WHERE decode(key) = '{METADATA_KEY}'"
        ).fetchone()
        counted = self._connection.execute(f"SELECT num_rows FROM parquet_file_metadata('{_escaped(path)}')").fetchone()
        if found is None or counted is None:
            raise CorruptArtifact(f"{path} is no batch of the lake: it lacks its provenance; move it elsewhere")
        return Batch(Provenance.model_validate_json(found[0]), path, counted[0], self._columns(path))

    def _columns(self, path: Path) -> tuple[str, ...]:
        described = self._connection.execute(
            f"DESCRIBE SELECT * FROM read_parquet('{_escaped(path)}', hive_partitioning = false)"
        )
        return tuple(row[0] for row in described.fetchall())


def _escaped(path: Path) -> str:
    return str(path).replace("'", "''")
