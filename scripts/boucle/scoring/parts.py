"""What a run has done so far, in a folder beside its output: a part is there for good once the state counts it."""

import csv
import fcntl
import io
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from boucle import files
from boucle.errors import FieldError, InvalidRecord, NotScored
from boucle.scoring.sinks import without_formula


class State(BaseModel):
    """A run, and how far it came."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    identity: str
    version: str
    parts: int = 0
    rows: int = 0
    scored: int = 0
    unusual: int = 0

    @property
    def rejected(self) -> int:
        return self.rows - self.scored


@dataclass(frozen=True)
class Parts:
    """The folder."""

    folder: Path

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else writes this output meanwhile.

        Raises:
            NotScored: when somebody does.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise NotScored(f"{self.folder}: another run is writing this output; wait for it") from error
            try:
                yield
            finally:
                if not self._state.exists():  # nothing was begun, or all of it is done
                    self.forget()

    def state(self) -> State | None:
        """How far the last run came, if it left something that can be gone on with."""
        try:
            return State.model_validate_json(self._state.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def begin(self, state: State) -> None:
        """Forget what was there."""
        for path in self.folder.iterdir():
            if path.name != "lock":
                path.unlink()
        files.replace(self._state, state.model_dump_json().encode())

    def add(self, state: State, table: pa.Table, rejected: Sequence[tuple[int, InvalidRecord]]) -> State:
        """The state with one more part, which survives a crash from now on."""
        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        files.write_durably(self._part(state.parts), buffer.getvalue())
        if rejected:
            files.write_durably(self._rejected(state.parts), _lines(rejected).encode())
        done = state.model_copy(update={"parts": state.parts + 1})
        files.replace(self._state, done.model_dump_json().encode())
        return done

    def schema(self) -> pa.Schema:
        """The schema of every part."""
        return pq.read_schema(self._part(0))

    def tables(self, state: State) -> Iterator[pa.Table]:
        """The parts in order."""
        for number in range(state.parts):
            yield pq.read_table(self._part(number), partitioning=None)

    def rejected(self, state: State) -> list[Path]:
        """The files with what was rejected, in order."""
        return [path for number in range(state.parts) if (path := self._rejected(number)).exists()]

    def forget(self) -> None:
        """Delete the folder: the output is whole."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _state(self) -> Path:
        return self.folder / "state.json"

    def _part(self, number: int) -> Path:
        return self.folder / f"{number:06}.parquet"

    def _rejected(self, number: int) -> Path:
        return self.folder / f"{number:06}.rejected.csv"


def _lines(rejected: Sequence[tuple[int, InvalidRecord]]) -> str:
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    for row, error in rejected:
        for one in error.errors:
            writer.writerow([row, *(without_formula(text) for text in _texts(one))])
    return lines.getvalue()


def _texts(error: FieldError) -> tuple[str, str, str]:
    return error.field, error.value, error.message
