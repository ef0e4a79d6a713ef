"""One scoring run: read, check, predict, keep each part, and publish the whole."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa

from boucle.artifacts import Artifacts, ServedVersion
from boucle.contract import Classes, Contract, Label
from boucle.errors import InvalidRecord, NotScored
from boucle.rows import RowReader
from boucle.scoring.parts import Parts, State
from boucle.scoring.sinks import Sink, write_rejected
from boucle.scoring.sources import Source, Taken

# A chunk is predicted at once; a part, which a crash costs at most, is kept at once.
CHUNK_ROWS, PART_CHUNKS = 1_000, 20


@dataclass(frozen=True)
class Job:
    """What is scored; ``version`` None is the champion, or the one that an unfinished run began with."""

    source: Source
    sink: Sink
    version: str | None = None
    replace: bool = False


@dataclass(frozen=True)
class Summary:
    """What came of a run; ``unusual`` rows are scored, and hold what the reference rows never showed."""

    output: str
    model_version: str
    rows: int
    scored: int
    rejected: int
    unusual: int
    resumed_at_row: int
    rejected_file: str | None
    ignored_columns: tuple[str, ...]


def score(job: Job, artifacts: Artifacts, advance: Callable[[int], None]) -> Summary:
    """Score all rows; ``advance`` hears how many more are done, first those of an unfinished run.

    Raises:
        NotScored: when input or output cannot be used, or the input lacks a column of the contract.
    """
    if job.sink.exists() and not job.replace:
        raise NotScored(f"{job.sink} exists; give --replace to put the new one in its place")
    parts = Parts(job.sink.folder)
    with _failing(job.sink), parts.held():
        begun = _resumed(job, parts, artifacts.versions())
        served = artifacts.load_served(begun.version if begun else job.version)
        if begun is None:
            _check(job.source.columns, served.contract)
            begun = State(identity=job.source.identity or "", version=served.version)
            parts.begin(begun)
        advance(begun.rows)
        state = _keep_all(job.source, served, begun, parts, advance)
        if not state.rows:
            parts.forget()
            raise NotScored("the input holds no row")
        rejected = parts.rejected(state)
        write_rejected(job.sink.rejected, parts.folder / "whole", rejected)
        job.sink.write(parts.schema(), parts.tables(state))
        parts.forget()
    return Summary(
        output=str(job.sink),
        model_version=served.version,
        rows=state.rows,
        scored=state.scored,
        rejected=state.rejected,
        unusual=state.unusual,
        resumed_at_row=begun.rows,
        rejected_file=str(job.sink.rejected) if rejected else None,
        ignored_columns=tuple(name for name in job.source.columns if name not in served.contract.names),
    )


@contextmanager
def _failing(sink: Sink) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # the disk is full, say
        reason = error.strerror or error
        raise NotScored(f"{sink}: cannot be written ({reason}); the next run goes on where this one stopped") from error


def _resumed(job: Job, parts: Parts, versions: Sequence[str]) -> State | None:
    """The state of an unfinished run of the same job, unless its version was pruned meanwhile."""
    state = parts.state()
    if state is None or state.identity != job.source.identity or state.version not in versions:
        return None
    return state if job.version in (None, state.version) else None


def _check(columns: Sequence[str], contract: Contract) -> None:
    missing = [name for name in contract.names if name not in columns]
    if missing:
        raise NotScored(f"the input has no column {', '.join(missing)}; its columns are {', '.join(columns)}")
    added = [*columns, *_names(contract)]
    twice = {name for name in added if added.count(name) > 1}
    if twice:
        raise NotScored(
            f"the column {', '.join(sorted(twice))} would stand twice in the output: rename it in the input"
        )


def _keep_all(
    source: Source, served: ServedVersion, state: State, parts: Parts, advance: Callable[[int], None]
) -> State:
    taken = source.taken(state.rows, served.contract.names, CHUNK_ROWS)
    for some in _by_parts(taken):
        tables, rejected = [], []
        for chunk in some:
            table, wrong, unusual = _scored(chunk, served)
            tables.append(table)
            rejected += [(state.rows + position + 1, error) for position, error in wrong]
            state = state.model_copy(
                update={
                    "rows": state.rows + len(chunk.cells),
                    "scored": state.scored + len(table),
                    "unusual": state.unusual + unusual,
                }
            )
            advance(len(chunk.cells))
        state = parts.add(state, pa.concat_tables(tables), rejected)
    return state


def _by_parts(taken: Iterator[Taken]) -> Iterator[Iterable[Taken]]:
    while some := [chunk for _, chunk in zip(range(PART_CHUNKS), taken, strict=False)]:
        yield some


def _scored(chunk: Taken, served: ServedVersion) -> tuple[pa.Table, list[tuple[int, InvalidRecord]], int]:
    """The good rows with what is predicted of them, the wrong ones by position, and how many are unusual."""
    read = RowReader(chunk.columns, served.contract).chunk(chunk.cells)
    good = [row for row in read.rows if not isinstance(row, InvalidRecord)]
    wrong = [(position, row) for position, row in enumerate(read.rows) if isinstance(row, InvalidRecord)]
    outputs: list[list[float]] = []
    if good:
        outputs = served.scorer.matrix(zip(*good, strict=True)).tolist()
    table = chunk.table
    if wrong:
        refused = {position for position, _ in wrong}
        table = table.take([position for position in range(len(read.rows)) if position not in refused])
    for field, values in zip(_predicted(served), _columns(outputs, served), strict=True):
        table = table.append_column(field, pa.array(values, field.type))
    return table, wrong, len(read.warnings)


def _columns(outputs: list[list[float]], served: ServedVersion) -> list[list[object]]:
    target, kind = served.contract.target, _predicted(served)[0].type
    labels: list[object] = [target.decode(row) for row in outputs]
    if kind == pa.string():  # also where the classes are of several types
        labels = [_name(target.decode(row)) for row in outputs]
    n_classes = target.n_classes or 0
    probabilities: list[list[object]] = [[row[position] for row in outputs] for position in range(n_classes)]
    return [labels, *probabilities, [served.version] * len(outputs)]


def _predicted(served: ServedVersion) -> list[pa.Field]:
    target = served.contract.target
    kinds = {type(label) for label in target.classes} if isinstance(target, Classes) else {float}
    known = {bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
    first = known.get(next(iter(kinds)), pa.string()) if len(kinds) == 1 else pa.string()
    names = _names(served.contract)
    middle = [pa.field(name, pa.float64()) for name in names[1:-1]]
    return [pa.field(names[0], first), *middle, pa.field(names[-1], pa.string())]


def _names(contract: Contract) -> list[str]:
    """The columns that are added, in order."""
    classes = contract.target.classes if isinstance(contract.target, Classes) else ()
    return ["prediction", *(f"probability_{_name(label)}" for label in classes), "model_version"]


def _name(label: Label) -> str:
    return str(label).lower() if isinstance(label, bool) else str(label)
