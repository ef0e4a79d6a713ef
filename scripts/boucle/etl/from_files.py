"""Rows of files: each content is read once, in parts if only so much is wanted."""

import glob
import gzip
import zlib
from pathlib import Path

import duckdb

from boucle.errors import InvalidSource
from boucle.etl.ingestion import FilesSource
from boucle.etl.taking import Desk, Taking, Takings, Wanted, texts_of_json, unreadable
from boucle.etl.transformations import TYPES, literal, quoted
from boucle.files import file_digest

# Nothing is left to be guessed: a guess that fails on one long row would make one column of them all.
CSV = """read_csv({path}, header = true, all_varchar = true, skip = 0, encoding = 'utf-8', delim = {delimiter},
                  quote = '"', escape = '"')"""
DELIMITERS = ",;\t|"
LONGEST_HEADER = 1_000_000
FORMATS = {
    ".csv": CSV,
    ".tsv": CSV,
    ".parquet": "read_parquet({path}, hive_partitioning = false)",
    ".json": "",
    ".ndjson": "",
    ".jsonl": "",
}
WHOLE = -1


def take(source: FilesSource, wanted: Wanted, desk: Desk) -> Takings:
    """What the files hold that was not taken yet.

    Raises:
        InvalidSource: when there is no such file, or one cannot be read.
    """
    paths = [Path(path) for path in sorted(glob.glob(source.path, recursive=True)) if Path(path).is_file()]  # noqa: PTH207
    if not paths:
        raise InvalidSource(f"source {source.name}: {source.path} matches no file")
    rows = size = 0
    for path in paths:
        left = Wanted(
            None if wanted.limit is None else wanted.limit - rows,
            wanted.since,
            wanted.until,
            None if wanted.max_bytes is None else wanted.max_bytes - size,
        )
        if left.limit == 0 or left.max_bytes == 0:
            return
        try:
            found = _part(source, path, left, desk)
        except duckdb.Error as error:
            raise unreadable(source.name, str(path), error) from error
        if found:
            taking, taken = found
            rows, size = rows + taken, size + taking.bytes
            yield taking


def _part(source: FilesSource, path: Path, wanted: Wanted, desk: Desk) -> tuple[Taking, int] | None:
    """The next rows of the file that are wanted, and how many; None when there are none."""
    if path.stat().st_size == 0:
        desk.report(f"{path} is empty")
        return None
    sha256 = file_digest(path)
    # The content and not the name: the same file under two names is one.
    lane = f"{sha256} {wanted.lane}"
    done = int(desk.position(lane).get("row", 0))
    if done == WHOLE:
        return None
    texts = _texts(source, path, desk.connection)
    window = _window(source, wanted)
    if wanted.limit is None and wanted.max_bytes is None and done == 0:
        select, size = f"SELECT * FROM ({texts}) WHERE {window}", path.stat().st_size
        return Taking(str(path), select, sha256, size, lane, {"row": WHOLE}, _is_json(path)), 0
    numbered = f"SELECT *, row_number() OVER () AS _number FROM ({texts})"
    columns = [row[0] for row in desk.connection.execute(f"DESCRIBE {texts}").fetchall()]
    cells = " + ".join(f"coalesce(strlen({quoted(name)}), 0) + 1" for name in columns)
    # Two windows that stream: the rows stay in the order of the file, and none is kept.
    wished = f"""SELECT _number, {cells} AS size, sum({cells}) OVER (ROWS UNBOUNDED PRECEDING) AS total
                 FROM ({numbered}) WHERE _number > {done} AND {window}"""
    most = "" if wanted.max_bytes is None else f"WHERE total <= {wanted.max_bytes}"
    limit = "" if wanted.limit is None else f"LIMIT {wanted.limit}"
    count, last, size = desk.connection.execute(
        f"SELECT count(*), max(_number), sum(size) FROM (SELECT * FROM ({wished}) {most} {limit})"
    ).fetchone() or (0, None, 0)
    if not count:
        return None
    select = f"""SELECT * EXCLUDE (_number) FROM ({numbered})
                 WHERE _number > {done} AND _number <= {last} AND {window}"""
    part = f"{path} rows {done + 1} to {last}"
    return Taking(part, select, f"{sha256} {done}-{last}", int(size), lane, {"row": int(last)}, _is_json(path)), int(
        count
    )


def _texts(source: FilesSource, path: Path, connection: duckdb.DuckDBPyConnection) -> str:
    """A SELECT of the file's rows, every cell a text."""
    suffix = next((suffix for suffix in reversed(path.suffixes) if suffix != ".gz"), "").lower()
    if suffix not in FORMATS:
        raise InvalidSource(f"source {source.name}: {path} must end in {', '.join(FORMATS)} (or .csv.gz)")
    if _is_json(path):
        return texts_of_json(connection, path, "auto")
    delimiter = literal(_delimiter(path)) if FORMATS[suffix] == CSV else ""
    reader = FORMATS[suffix].format(path=literal(path), delimiter=delimiter)
    return f"SELECT CAST(COLUMNS(*) AS VARCHAR) FROM {reader}"


def _delimiter(path: Path) -> str:
    """What separates the names in the first line."""
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opener(path, "rb") as file:
            header = file.readline(LONGEST_HEADER).decode(errors="replace")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InvalidSource(f"{path} cannot be unpacked ({error})") from error
    return max(DELIMITERS, key=header.count)


def _is_json(path: Path) -> bool:
    return any(suffix in (".json", ".ndjson", ".jsonl") for suffix in path.suffixes)


def _window(source: FilesSource, wanted: Wanted) -> str:
    conditions = [
        f"{_comparable(source, quoted(source.cursor))} {sign} {_comparable(source, literal(value))}"
        for sign, value in ((">=", wanted.since), ("<", wanted.until))
        if value
    ]
    return " AND ".join(conditions) or "true"


def _comparable(source: FilesSource, text: str) -> str:
    column = source.column(source.cursor)
    return f"TRY_CAST({text} AS {TYPES[column.type] if column else 'VARCHAR'})"
