"""What a project declares of its sources: where rows come from, how much is taken, and the contract of each."""

from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Kind = Literal["integer", "number", "boolean", "date", "timestamp", "text"]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,47}$")]
EnvironmentVariable = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]

# Tables of the warehouse that tell of the loads, and the name that `data.query` uses.
RESERVED = ("etl_batches", "etl_contracts", "etl_positions", "quarantine", "source")


def _free(name: str) -> str:
    if name in RESERVED:
        raise ValueError(f"is the name of a table that Boucle keeps; the others are free: {', '.join(RESERVED)}")
    return name


TableName = Annotated[Name, AfterValidator(_free)]


class Declared(BaseModel):
    """A table of project.toml within ``[etl]``: frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(Declared):
    """What the values of one column must be; a row that breaks it goes to quarantine."""

    name: Annotated[str, Field(min_length=1, pattern=r'^[^"\x00_][^"\x00]*$')]
    type: Kind
    nullable: bool = False
    minimum: float | date | None = None
    maximum: float | date | None = None
    categories: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        limits = [limit for limit in (self.minimum, self.maximum) if limit is not None]
        if self.categories and self.type != "text":
            raise ValueError(f"column {self.name}: only a text has categories")
        if limits and self.type in ("text", "boolean"):
            raise ValueError(f"column {self.name}: a {self.type} has no minimum or maximum")
        if any(isinstance(limit, date) != (self.type in ("date", "timestamp")) for limit in limits):
            raise ValueError(f"column {self.name}: minimum and maximum of a {self.type} must be of its own kind")
        return self


class _Source(Declared):
    """What every source has."""

    name: TableName
    columns: tuple[Column, ...] = ()
    key: tuple[str, ...] = ()
    cursor: str = ""
    max_age_hours: Annotated[float, Field(gt=0)] | None = None
    missing_values: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        # DuckDB's names do not distinguish case.
        names = [column.name.lower() for column in self.columns]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"source {self.name}: column {twice[0]} is declared twice")
        used = [*self.key, *([self.cursor] if self.cursor else [])]
        unknown = [name for name in used if self.columns and name.lower() not in names]
        if unknown:
            raise ValueError(f"source {self.name}: {unknown[0]} is none of its columns")
        if self.columns and self.asks_again and not self.key:
            raise ValueError(f"source {self.name} needs a key: rows as new as the newest are asked for again")
        cursor = self.column(self.cursor)
        if self.max_age_hours and (cursor is None or cursor.type not in ("date", "timestamp")):
            raise ValueError(f"source {self.name}: max_age_hours needs a cursor that is a date or a timestamp")
        return self

    @property
    def asks_again(self) -> bool:
        """Whether rows that were taken come again."""
        return False

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)


class FilesSource(_Source):
    """Files, each read once: by extension CSV, TSV, JSON, NDJSON or Parquet, also ``.gz``."""

    kind: Literal["files"]
    path: Annotated[str, Field(min_length=1)]


class HttpSource(_Source):
    """A paged JSON API."""

    kind: Literal["http"]
    url: Annotated[str, Field(pattern=r"^https?://[^\s]+$")]
    items: str = ""
    parameters: dict[str, str | int] = {}
    page_parameter: str = ""
    first_page: int = 1
    next: str = ""
    next_parameter: str = ""
    since_parameter: str = ""
    until_parameter: str = ""
    headers: dict[str, EnvironmentVariable] = {}
    timeout_seconds: Annotated[float, Field(gt=0, le=3_600)] = 30.0
    retries: Annotated[int, Field(ge=0, le=20)] = 4
    page_bytes: Annotated[int, Field(ge=1_000)] = 50_000_000

    @property
    def asks_again(self) -> bool:
        return bool(self.since_parameter)

    @model_validator(mode="after")
    def _pages(self) -> Self:
        if bool(self.next) != bool(self.next_parameter):
            raise ValueError(f"source {self.name}: next and next_parameter belong together")
        if self.next and self.page_parameter:
            raise ValueError(f"source {self.name}: pages have numbers (page_parameter) or point to the next one (next)")
        if self.since_parameter and not self.cursor:
            raise ValueError(f"source {self.name}: since_parameter needs a cursor, the column that it is compared with")
        return self


class SqlSource(_Source):
    """A query; the database's URL, which may hold a password, comes from the environment."""

    kind: Literal["sql"]
    url_env: EnvironmentVariable
    query: Annotated[str, Field(min_length=1)]

    @property
    def asks_again(self) -> bool:
        return bool(self.cursor)


Source = Annotated[FilesSource | HttpSource | SqlSource, Field(discriminator="kind")]


class DerivedTable(Declared):
    """A table of the warehouse that a SELECT makes of the others."""

    name: TableName
    query: Annotated[str, Field(pattern=r"\.sql$")]


def _distinct(tables: tuple[Any, ...]) -> tuple[Any, ...]:
    names = [table.name for table in tables]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"two of them are called {twice[0]}")
    return tables


class EtlSection(Declared):
    """Which sources are collected, and the tables that are made of them."""

    warehouse: Literal["duckdb", "postgresql"] = "duckdb"
    memory: Annotated[str, Field(pattern=r"^\d+ ?(MB|GB)$")] = "512MB"
    sources: Annotated[tuple[Source, ...], AfterValidator(_distinct)] = ()
    tables: Annotated[tuple[DerivedTable, ...], AfterValidator(_distinct)] = ()
