"""The tables: made once, whoever starts first, and the same as the code describes."""

import subprocess
import sys

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from boucle.errors import UnknownRevision
from boucle.store import migration, open_store
from boucle.store.database import METADATA, connect
from tests.support import ROOT, on_each_database, wait_for

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
