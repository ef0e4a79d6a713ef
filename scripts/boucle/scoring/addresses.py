"""What INPUT and OUTPUT name: a file, or a table of a database."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from boucle.errors import NotScored

FORMS = "give a .csv, .csv.gz or .parquet file, or postgresql://user@host/database?table=… or sqlite:///file?table=…"


@dataclass(frozen=True)
class SQLTable:
    """One table of one database."""

    url: URL
    schema: str | None
    name: str

    def __str__(self) -> str:
        place = self.url.render_as_string(hide_password=True)
        return f"{place}{'&' if self.url.query else '?'}table={f'{self.schema}.' if self.schema else ''}{self.name}"

    @contextmanager
    def failing(self, what: str) -> Iterator[None]:
        """What the database refuses in here becomes one line: the table cannot be ``what``, and why."""
        try:
            yield
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise NotScored(f"{self}: cannot be {what} ({reason or type(error).__name__})") from error


def parse(address: str) -> Path | SQLTable:
    """The file or table that ``address`` names.

    Raises:
        NotScored: when it is neither.
    """
    if "://" in address:
        return _table(address)
    path = Path(address)
    if not path.name.lower().endswith((".csv", ".csv.gz", ".parquet")):
        raise NotScored(f"{address}: {FORMS}")
    return path


def _table(address: str) -> SQLTable:
    try:
        url = make_url(address)
    except ArgumentError as error:
        raise NotScored(f"not the address of a table: {FORMS}") from error
    table = url.query.get("table")
    if url.get_backend_name() not in ("postgresql", "sqlite") or not isinstance(table, str) or not table:
        raise NotScored(f"{url.render_as_string(hide_password=True)}: {FORMS}")
    schema, _, name = table.rpartition(".")
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    return SQLTable(url.difference_update_query(["table"]), schema or None, name)
