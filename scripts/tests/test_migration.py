"""The tables: made once, whoever starts first, and the same as the code describes."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from msgspec.structs import asdict

from boucle.errors import UnknownRevision
from boucle.store import migration, open_store
from boucle.store.database import METADATA, connect
from tests.support import ROOT, new_id, on_each_database, wait_for

PROCESSES = 5

# A process that has imported everything, says so, and opens the store when all the others are as far.
STARTS = """
import logging, sys, time
from pathlib import Path
from boucle.store import open_store
logging.basicConfig(level=logging.INFO)
folder, url = Path(sys.argv[1]), sys.argv[2]
(folder / f"ready-{sys.argv[3]}").touch()
while not (folder / "go").exists():
    time.sleep(0.001)
assert open_store(url, folder, 50).feedback.rows() == 0
"""


@pytest.fixture
def url(database, tmp_path):
    return database or f"sqlite:///{tmp_path / 'boucle.db'}"


@on_each_database
def test_the_migrations_make_exactly_the_tables_that_the_code_describes(url, tmp_path):
    open_store(url, tmp_path, 50)

    with connect(url).reading() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), METADATA)

    assert differences == []


def test_the_newest_revision_is_the_one_that_alembic_finds():
    assert ScriptDirectory(str(migration.MIGRATIONS)).get_heads() == [migration.REVISIONS[-1]]


@on_each_database
def test_processes_that_start_at_once_migrate_once(url, tmp_path):
    started = [
        subprocess.Popen(
            [sys.executable, "-c", STARTS, str(tmp_path), url, str(number)], cwd=ROOT, stderr=subprocess.PIPE, text=True
        )
        for number in range(PROCESSES)
    ]
    wait_for(lambda: len(list(tmp_path.glob("ready-*"))) == PROCESSES, "the imports", 120)
    (tmp_path / "go").touch()
    logs = [process.communicate(timeout=60)[1] for process in started]

    assert [process.returncode for process in started] == [0] * PROCESSES, logs
    assert "".join(logs).count("the store's tables are at revision") == 1


@on_each_database
def test_a_database_from_before_the_migrations_is_kept(url, tmp_path):
    database = connect(url)
    with database.writing() as connection:
        command.upgrade(migration.configuration(connection), migration.REVISIONS[0])
        connection.execute(sa.text("DROP TABLE alembic_version"))
        connection.execute(
            sa.text(
                "INSERT INTO training_runs (id, trigger, state, requested_at, metrics, attempts) "
                "VALUES (1, 'manual', 'requested', '2020-01-01', '{}', 0)"
            )
        )

    store = open_store(url, tmp_path, 50)

    assert [run.id for run in store.runs.newest(10)] == [1]
    with database.reading() as connection:
        assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).all() == [
            (migration.REVISIONS[-1],)
        ]


@on_each_database
def test_a_database_that_a_newer_version_migrated_is_refused_and_left_alone(url, tmp_path):
    open_store(url, tmp_path, 50)
    database = connect(url)
    with database.writing() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(UnknownRevision, match=f"revision 9999, this code knows {migration.REVISIONS[-1]} at most"):
        open_store(url, tmp_path, 50)

    with database.reading() as connection:
        assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one() == "9999"


@on_each_database
def test_a_migration_that_fails_leaves_the_database_as_it_was(url, tmp_path):
    with connect(url).writing() as connection:
        connection.execute(sa.text("CREATE TABLE training_runs (id INTEGER)"))  # in the way of the last table

    with pytest.raises(sa.exc.SQLAlchemyError, match="already exists"):
        open_store(url, tmp_path, 50)

    with connect(url).reading() as connection:
        assert sa.inspect(connection).get_table_names() == ["training_runs"]


def test_a_store_that_is_up_to_date_opens_without_loading_alembic(tmp_path):
    url = f"sqlite:///{tmp_path / 'boucle.db'}"
    open_store(url, tmp_path, 50)
    code = (
        "import sys; from pathlib import Path; from boucle.store import open_store; "
        f"open_store({url!r}, Path({str(tmp_path)!r}), 50); sys.exit('alembic' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


OLD_COLUMNS = (
    "prediction_id, created_at, model_version, arm, client_id, input, prediction, probabilities, latency_seconds"
)


def old_predictions():
    """Rows as revision 0004 held them: two versions by turns, a burst, hours without any, a name that is no UUID."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    moments = [start + timedelta(milliseconds=number) for number in range(1_200)]
    moments += [start + timedelta(hours=number) for number in range(1, 40)]
    rows = [(new_id(moment), moment.isoformat(timespec="milliseconds")) for moment in moments]
    rows += [("by hand 7", "2026-01-01T00:00:00.000+00:00"), ("a7", "2026-01-02T00:00:00.000+00:00")]
    return [
        {
            "prediction_id": identifier,
            "created_at": created_at,
            "model_version": "v2" if number % 400 > 390 else "v1",
            "arm": "champion",
            "client_id": None,
            "input": json.dumps({"x": number / 7, "ok": number % 2 == 0, "gap": None, "where": "Ærø"}),
            "prediction": json.dumps("ja"),
            "probabilities": json.dumps({"ja": 0.1, "nein": number / 1e9}),
            "latency_seconds": 0.001,
        }
        for number, (identifier, created_at) in enumerate(rows)
    ]


@on_each_database
def test_predictions_from_before_the_chunks_are_all_there_and_read_the_same(url, tmp_path):
    database, rows = connect(url), old_predictions()
    places = ", ".join(f":{name}" for name in OLD_COLUMNS.split(", "))
    with database.writing() as connection:
        command.upgrade(migration.configuration(connection), "0004")
        connection.execute(sa.text(f"INSERT INTO predictions ({OLD_COLUMNS}) VALUES ({places})"), rows)

    log = open_store(url, tmp_path, 50).predictions

    with database.reading() as connection:
        seen = connection.execute(sa.text(f"SELECT {OLD_COLUMNS} FROM predictions")).mappings().all()
        chunks = connection.execute(sa.text("SELECT count(*) FROM prediction_chunks")).scalar_one()
    parsed = ("input", "prediction", "probabilities")
    by_identifier = {row["prediction_id"]: {**row, **{name: json.loads(row[name]) for name in parsed}} for row in rows}
    assert {
        row["prediction_id"]: {**row, **{name: json.loads(row[name]) for name in parsed}} for row in seen
    } == by_identifier
    assert log.count() == len(seen) == len(rows)
    assert chunks < 60
    for row in (*rows[::97], *rows[-3:]):
        assert asdict(log.find(row["prediction_id"])) == by_identifier[row["prediction_id"]]
