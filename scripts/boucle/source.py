"""Where raw rows come from: a file, or a data set that scikit-learn brings along."""

from pathlib import Path

import duckdb
import pandas as pd
from sklearn.datasets import load_breast_cancer

from boucle.config import Project
from boucle.errors import InvalidSource
from boucle.etl import mirror, warehouse
from boucle.etl.ingestion import EtlSection
from boucle.etl.transformations import literal

BUNDLED = "sklearn:breast_cancer"
WAREHOUSE = "warehouse:"
# The whole file decides on a column's type: a sample can miss the one text in a million rows. No BOOLEAN among the
# types, since DuckDB takes Yes and No for one, and a label must stay what its owner wrote.
CSV = """read_csv([{path}], header = true, sample_size = -1, encoding = 'utf-8', nullstr = [{missing}],
                  auto_type_candidates = ['BIGINT', 'DOUBLE', 'DATE', 'TIMESTAMP', 'VARCHAR'])"""
READERS = {".csv": CSV, ".tsv": CSV, ".parquet": "read_parquet([{path}])"}


def materialize(project: Project, data: Path, database: str = "") -> Path:
    """The file that ``data.source`` names; the bundled set and tables of the warehouse are written to ``data/raw/``.

    ``database`` is SQLAlchemy's URL of the PostgreSQL that has the tables, if the project says so.

    Raises:
        InvalidSource: when there is no such file or table, or its kind is not known.
        SourceAway: when the database is away.
    """
    source = project.data.source
    if source == BUNDLED:
        return _write_breast_cancer(data / "raw" / "breast_cancer.csv")
    if source.startswith(WAREHOUSE):
        return _export(source.removeprefix(WAREHOUSE), project.etl, data, database)
    path = Path(source)
    if not path.is_file():
        raise InvalidSource(
            f'data.source = "{source}": no such file; give a CSV or Parquet file, "warehouse:table", or "{BUNDLED}"'
        )
    if _suffix(path) not in READERS:
        raise InvalidSource(f'data.source = "{source}": must end in {", ".join(READERS)} (or .csv.gz)')
    return path


def read(path: Path, query: str, missing_values: tuple[str, ...]) -> pd.DataFrame:
    """The rows of the file in their order, or what ``query``, in SQL, selects from the table ``source``.

    Raises:
        InvalidSource: when the file or the query cannot be read.
    """
    with duckdb.connect() as connection:
        try:
            missing = ", ".join(map(literal, ("", *missing_values)))
            reader = READERS[_suffix(path)].format(path=literal(path), missing=missing)
            connection.execute(f"CREATE VIEW source AS SELECT * FROM {reader}")  # noqa: S608  # literals are quoted
            table = connection.execute(query or "SELECT * FROM source").df()
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise InvalidSource(f"{path}: cannot be read ({reason}); Boucle reads UTF-8 CSV and Parquet") from error
    if table.empty:
        raise InvalidSource(f"{path}: holds no row, or data.query selects none")
    return table


def _suffix(path: Path) -> str:
    return next((suffix for suffix in reversed(path.suffixes) if suffix != ".gz"), "").lower()


def _export(table: str, etl: EtlSection, data: Path, database: str) -> Path:
    path = data / "raw" / f"warehouse_{table}.parquet"
    if etl.warehouse == "postgresql":
        mirror.export(database, table, path, etl.memory)
    else:
        warehouse.export(data, table, path, etl.memory)
    return path


def _write_breast_cancer(path: Path) -> Path:
    if not path.exists():
        bunch = load_breast_cancer(as_frame=True)
        table = bunch.data.assign(diagnosis=bunch.target.map(dict(enumerate(bunch.target_names))))
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(path, index=False)
    return path
