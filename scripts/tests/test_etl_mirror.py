"""The warehouse in PostgreSQL: what stands there, and that `prepare` reads there what it reads in DuckDB's file."""

import threading
from contextlib import contextmanager

import duckdb
import psycopg
import pytest
import sqlalchemy as sa

from boucle import preparation
from boucle.config import load_project
from boucle.errors import InvalidProject, InvalidSource, NotLoaded, SourceAway
from boucle.etl import mirror, warehouse
from boucle.etl.status import last_loads
from tests.sources import ROWS, Place

MEMORY = "256MB"
EVERY_TYPE = """
    SELECT i, i * 70368744177664 AS big, i / 3.0::DOUBLE AS x, (i / 7.0)::FLOAT AS x4, (i / 8)::DECIMAL(18, 3) AS price,
        i::HUGEINT * 170141183460469231731687303715884 AS huge, i::UTINYINT AS tiny, i::USMALLINT AS small,
        i % 2 = 0 AS flag, DATE '1970-01-01' + 40 * i::INTEGER AS day,
        TIMESTAMP '2020-02-29 23:59:59.123456' + to_seconds(i) AS at, TIMESTAMPTZ '2020-01-01 12:00:00+02' AS zoned,
        CASE i % 5 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN ' a,"b"' || chr(10) || chr(13) || '\\N' WHEN 3 THEN 'é😀'
                   ELSE 'NULL' END AS note,
        [i, NULL] AS listed, {'a': 'it''s', 'b': i} AS packed, uuid() IS NULL AS never,
        CASE i % 4 WHEN 0 THEN 'nan' WHEN 1 THEN 'inf' WHEN 2 THEN '-0.0' ELSE '5e-324' END::DOUBLE AS odd,
        i AS _row, NULL::INTEGER AS "it's ""nothing"" %s"
    FROM range(255) AS r(i) ORDER BY hash(i)"""


@pytest.fixture
def url(postgresql):
    with postgresql.database() as url:
        yield url


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    text = (tmp_path / "project.toml").read_text()
    text = text.replace("[[etl.sources]]", '[etl]\nwarehouse = "postgresql"\n[[etl.sources]]')
    (tmp_path / "project.toml").write_text(text)
    return place


@contextmanager
def made(folder, *statements):
    """A warehouse with these tables, in DuckDB."""
    folder.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(folder / "warehouse.duckdb") as connection:
        for statement in statements:
            connection.execute(statement)
        yield connection


def mirrored(connection, url, folder, *tables):
    mirror.mirror(connection, url, tables, folder, lambda _: None)


def exported(folder, table, url=None):
    path = folder / "raw" / f"{'postgresql' if url else 'duckdb'}_{table}.parquet"
    if url:
        mirror.export(url, table, path, MEMORY)
    else:
        warehouse.export(folder, table, path, MEMORY)
    assert sorted(path.parent.glob(".*")) == []  # nothing is left aside
    return path


def test_with_postgresql_the_tables_stand_there_too(place, postgresql, url):
    place.csv("a.csv", [*ROWS[:8], {**ROWS[8], "amount": None}, {**ROWS[9], "plan": 'go,l"d\n'}])
    with pytest.raises(InvalidProject, match="BOUCLE_DATABASE_URL must name a PostgreSQL database"):
        place.run(database="sqlite:///x.db")
    for _ in range(2):
        place.run(database=url)
    with sa.create_engine(url).connect() as connection:
        rows = connection.execute(sa.text("SELECT id, day, amount, plan FROM warehouse.sales ORDER BY id")).all()
        reason = connection.execute(sa.text("SELECT reason FROM warehouse.quarantine")).scalar_one()

    with postgresql.crashed(), pytest.raises(NotLoaded, match="its tables are as they were"):
        place.run(database=url)
    failed = last_loads(place.data)["sales"]
    place.run(database=url)

    assert [tuple(row) for row in rows] == place.rows()
    assert rows[8].amount is None
    assert "its tables are as they were" in failed.error
    assert last_loads(place.data)["sales"].error is None
    assert reason == 'plan: go,l"d is none of basic, plus'


def test_either_warehouse_gives_the_same_file_whatever_the_types(tmp_path, url):
    with psycopg.connect(mirror.address(url), autocommit=True) as database:
        for setting in ("extra_float_digits = -3", "datestyle = 'German'", "timezone = 'Asia/Tokyo'"):
            database.execute(f"ALTER DATABASE {database.info.dbname} SET {setting}")
    alone = "SELECT CASE WHEN i % 3 > 0 THEN i END AS i FROM range(10) AS r(i)"
    with made(tmp_path, f"CREATE TABLE wide AS {EVERY_TYPE}", f"CREATE TABLE alone AS {alone}") as connection:
        mirrored(connection, url, tmp_path, "wide", "alone")

    for table in ("wide", "alone"):
        assert exported(tmp_path, table, url).read_bytes() == exported(tmp_path, table).read_bytes()
    with duckdb.connect() as connection:
        described = connection.execute(f"DESCRIBE FROM '{exported(tmp_path, 'wide', url)}'").fetchall()
    assert [row[1] for row in described[:5]] == ["BIGINT", "BIGINT", "DOUBLE", "FLOAT", "DECIMAL(18,3)"]
    assert [row[0] for row in described[-2:]] == ["odd", 'it\'s "nothing" %s']


def test_the_same_rows_are_the_same_file_however_they_came_there(tmp_path, url):
    rows = "SELECT i AS id, i / 3.0 AS x, md5(i::VARCHAR) AS code, 'n' || (i % 100) AS name FROM range({}, {}) AS r(i)"
    histories = {
        "at_once": [rows.format(0, 200_000)],
        "in_parts": [rows.format(0, 99), rows.format(99, 70_001), rows.format(70_001, 200_000)],
        "with_others": [rows.format(0, 130_000), rows.format(-50_000, 0), rows.format(130_000, 200_000)],
    }
    files = set()
    for name, parts in histories.items():
        filled = [f"INSERT INTO t {part}" for part in parts]
        statements = [f"CREATE TABLE t AS {rows.format(0, 0)}", *filled, "DELETE FROM t WHERE id < 0"]
        with made(tmp_path / name, *statements) as connection:
            mirrored(connection, url, tmp_path, "t")
        files |= {exported(tmp_path / name, "t").read_bytes(), exported(tmp_path / name, "t", url).read_bytes()}

    assert len(files) == 1


def test_who_reads_while_a_run_writes_gets_the_run_before_or_after(tmp_path, url):
    runs, found, stop = 12, set(), threading.Event()

    def sums(path):
        with duckdb.connect() as connection:
            return connection.execute(f"SELECT count(*), min(run), max(run) FROM '{path}'").fetchone()

    def read():
        while not stop.is_set():
            found.add(sums(exported(tmp_path, "t", url)))

    def write(run):
        # Each run has other columns, too.
        return f"CREATE OR REPLACE TABLE t AS SELECT {run} AS run, i AS i{run} FROM range({1_000 + run}) AS r(i)"

    with made(tmp_path, write(0)) as connection:
        mirrored(connection, url, tmp_path, "t")
        reader = threading.Thread(target=read)
        reader.start()
        for run in range(1, runs):
            connection.execute(write(run))
            mirrored(connection, url, tmp_path, "t")
        stop.set()
        reader.join()
        found.add(sums(exported(tmp_path, "t", url)))

    assert found <= {(1_000 + run, run, run) for run in range(runs)}
    assert len(found) > 2


def test_prepare_reads_postgresql_and_nothing_else(place, url):
    columns = "columns = [{ name = 'x', type = 'number' }, { name = 'label', type = 'text' }]"
    place.declare(f'kind = "files"\npath = "{place.drop}/*"\n{columns}', '[etl]\nwarehouse = "postgresql"')
    text = (place.folder / "project.toml").read_text().replace("sklearn:breast_cancer", "warehouse:sales")
    (place.folder / "project.toml").write_text(text.replace("diagnosis", "label").replace("components = 5", ""))
    place.csv("a.csv", [{"x": number, "label": ["no", "yes"][number % 2]} for number in range(100)])
    place.run(database=url)
    (place.data / "warehouse.duckdb").unlink()

    prepared = preparation.prepare(place.project, place.data, lambda _: None, url)

    assert prepared.contract.names == ("x",)
    assert len(prepared.vectors) == 80
    place.run(database=url)
    assert preparation.is_current(place.project, place.data, url)
    embedded = load_project(place.folder / "project.toml").model_copy(
        update={"etl": place.project.etl.model_copy(update={"warehouse": "duckdb"})}
    )
    assert preparation.is_current(embedded, place.data)


def test_what_postgresql_has_not_is_said_with_what_it_has(tmp_path, postgresql, url):
    def refusal(kind=InvalidSource, table="sails"):
        with pytest.raises(kind) as refused:
            exported(tmp_path, table, url)
        assert "\n" not in str(refused.value)
        return str(refused.value)

    assert "has no schema warehouse yet; run make etl" in refusal()
    with made(tmp_path, "CREATE TABLE sales AS SELECT 1 AS id", "CREATE TABLE shops AS FROM sales") as connection:
        mirrored(connection, url, tmp_path, "sales", "shops")
    assert "no such table in PostgreSQL; there are sales, shops" in refusal()
    with psycopg.connect(mirror.address(url)) as database:
        database.execute("ALTER TABLE warehouse.sales DROP COLUMN _order")
    assert "warehouse.sales is not as this version writes it; run make etl" in refusal(table="sales")
    with postgresql.crashed():
        assert 'data.source = "warehouse:sales": PostgreSQL: ' in refusal(SourceAway, "sales")
    assert list(tmp_path.glob("raw/*")) == []


def test_a_name_that_postgresql_would_cut_off_is_refused(tmp_path, url):
    with (
        made(tmp_path, f'CREATE TABLE t AS SELECT 1 AS "{"é" * 32}"') as connection,
        pytest.raises(NotLoaded, match="longer than the 63 bytes of a name there"),
    ):
        mirrored(connection, url, tmp_path, "t")
