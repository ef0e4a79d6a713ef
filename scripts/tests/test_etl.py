"""From sources to the warehouse: what is taken, what is refused, and what a death at any point leaves."""

import gzip
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta

import duckdb
import pandas as pd
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from boucle import preparation
from boucle.cli import app
from boucle.errors import InvalidProject, InvalidSource, WarehouseBusy
from boucle.etl import loading
from boucle.etl.inference import infer
from boucle.etl.taking import Wanted
from boucle.etl.warehouse import opened
from tests.sources import COLUMNS, ROWS, Place, start
from tests.support import PROJECT


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_files_of_every_kind_give_the_same_typed_rows(tmp_path):
    frame = pd.DataFrame(ROWS)
    written = {
        "a.csv": lambda path: frame.to_csv(path, index=False),
        "a.tsv": lambda path: frame.to_csv(path, index=False, sep="\t"),
        "a.csv.gz": lambda path: frame.to_csv(path, index=False),
        "a.json": lambda path: frame.to_json(path, orient="records"),
        "a.ndjson": lambda path: frame.to_json(path, orient="records", lines=True),
        "a.jsonl.gz": lambda path: frame.to_json(path, orient="records", lines=True),
        "a.parquet": frame.to_parquet,
    }
    loaded = {}
    for name, write in written.items():
        place = Place(tmp_path / name)
        write(place.drop / name)
        assert place.run().error is None
        loaded[name] = place.rows()

    assert loaded["a.csv"][0] == (1, datetime(2026, 1, 1).date(), 0.5, "plus")
    assert all(rows == loaded["a.csv"] for rows in loaded.values())


def test_a_row_that_breaks_the_contract_goes_to_quarantine_with_the_reason_and_is_counted(place):
    bad = [
        {**ROWS[0], "id": "seven"},
        {**ROWS[1], "day": "2019-12-31"},
        {**ROWS[2], "amount": 1000.5, "plan": "gold"},
        {**ROWS[3], "id": None},
        {**ROWS[4], "id": "5.5"},
    ]
    place.csv("a.csv", [*bad, *ROWS[5:]])

    outcome = place.run()

    assert (outcome.rows, outcome.loaded, outcome.quarantined) == (10, 5, 5)
    assert place.ids() == [6, 7, 8, 9, 10]
    assert place.reasons() == [
        "id: seven is no integer",
        "day: 2019-12-31 is below 2020-01-01",
        "amount: 1000.5 is above 1000.0; plan: gold is none of basic, plus",
        "id is missing",
        "id: 5.5 is no integer",
    ]
    assert json.loads(place.rows("SELECT record FROM quarantine ORDER BY row")[0][0])["id"] == "seven"
    status = json.loads((place.data / "etl.json").read_text())["sources"]["sales"]
    assert (status["loaded"], status["quarantined"], status["error"]) == (5, 5, None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda frame: frame.rename(columns={"amount": "amounts"}),
            "column amount is missing; was it renamed to amounts?",
        ),
        (lambda frame: frame.drop(columns="plan"), "column plan is missing"),
        (lambda frame: frame.assign(day="soon"), "column day holds no date any more, such as 'soon'"),
    ],
)
def test_a_changed_schema_stops_the_load_with_one_message_and_nothing_half_loaded(place, change, said):
    place.csv("a.csv", ROWS[:5])
    place.run()
    before = place.rows(), place.lake()
    change(pd.DataFrame(ROWS[5:])).to_csv(place.drop / "b.csv", index=False)

    outcome = place.run()

    assert said in outcome.error
    assert "\n" not in outcome.error
    assert sum("changed its schema" in line for line in place.said) == 1
    assert (place.rows(), place.lake()) == before
    assert place.reasons() == []

    place.csv("b.csv", ROWS[5:])
    assert place.run().loaded == 5


def test_a_new_column_is_said_and_stays_in_the_lake(place):
    place.csv("a.csv", [{**row, "colour": "red"} for row in ROWS])

    assert place.run().loaded == 10
    assert any(line.endswith("not in the contract, left in the lake: colour") for line in place.said)


def test_the_same_content_twice_is_one_batch(place):
    place.csv("a.csv", ROWS)
    place.run()
    shutil.copy(place.drop / "a.csv", place.drop / "copy.csv")

    outcome = place.run()

    assert (outcome.batches, len(place.lake()), place.ids()) == (0, 1, list(range(1, 11)))


def test_of_rows_with_one_key_the_latest_stands(place):
    place.csv("a.csv", [*ROWS, {**ROWS[0], "amount": 99}])
    first = place.run()
    place.csv("b.csv", [{**ROWS[1], "amount": 77}])

    second = place.run()

    assert (first.loaded, first.superseded) == (10, 1)
    assert (second.loaded, second.superseded) == (1, 1)
    assert [row[2] for row in place.rows()][:2] == [99, 77]


def test_a_limit_takes_the_next_rows_each_time(place):
    place.csv("a.csv", ROWS[:6])
    place.csv("b.csv", ROWS[6:])

    taken = [place.run(limit=4).rows for _ in range(4)]

    assert taken == [4, 4, 2, 0]
    assert place.ids() == list(range(1, 11))


def test_a_limit_of_bytes_takes_no_more(place):
    place.csv("a.csv", ROWS)

    outcome = place.run(max_bytes=60)

    assert 0 < outcome.rows < 5
    assert place.run().rows == 10 - outcome.rows
    assert place.ids() == list(range(1, 11))


def test_a_window_of_the_cursor_is_taken_alone_and_moves_no_other(place):
    place.csv("a.csv", ROWS)

    place.run(since="2026-01-03", until="2026-01-05")
    window = place.ids()
    place.run()

    assert window == [3, 4]
    assert place.ids() == list(range(1, 11))


def test_the_lake_tells_where_a_batch_came_from(place):
    place.csv("a.csv", ROWS)
    place.run()
    (path,) = place.data.rglob("batch-*.parquet")

    with duckdb.connect() as connection:
        query = f"SELECT decode(value) FROM parquet_kv_metadata('{path}')"
        metadata = connection.execute(query).fetchone()[0]

    told = json.loads(metadata)
    assert path.parent.name == f"date={told['taken_at'][:10]}"
    assert path.parent.parent.name == "source=sales"
    assert told["origin"] == str(place.drop / "a.csv")
    assert (told["number"], told["bytes"]) == (1, (place.drop / "a.csv").stat().st_size)
    assert len(told["sha256"]) == 64


def test_the_warehouse_is_built_again_from_the_lake_alone(place):
    place.csv("a.csv", ROWS[:6])
    place.run()
    place.csv("b.csv", [*ROWS[5:], {**ROWS[0], "amount": 5}])
    place.run()
    before = place.rows()
    (place.data / "warehouse.duckdb").unlink()
    shutil.rmtree(place.drop)
    place.drop.mkdir()
    (place.drop / "empty.csv").write_text("")

    place.run()

    assert place.rows() == before


def test_a_changed_contract_is_applied_to_what_the_lake_holds(place):
    place.csv("a.csv", ROWS)
    place.run()
    declared = f'kind = "files"\npath = "{place.drop}/*"\n{COLUMNS}'
    place.declare(declared.replace("maximum = 1000.0", "maximum = 4.0"))

    place.run()

    assert place.ids() == list(range(1, 9))
    assert place.reasons() == ["amount: 4.5 is above 4.0", "amount: 5.0 is above 4.0"]


def test_a_contract_that_the_lake_cannot_fulfil_leaves_the_warehouse_as_it_was(place):
    place.csv("a.csv", ROWS)
    place.run()
    declared = f'kind = "files"\npath = "{place.drop}/*"\n{COLUMNS}'
    place.declare(declared.replace('{ name = "id"', '{ name = "extra", type = "text" },\n    { name = "id"'))

    outcome = place.run()

    assert "column extra is missing" in outcome.error
    assert place.ids() == list(range(1, 11))


def test_cells_that_begin_like_a_formula_stay_data(place):
    place.declare(f'kind = "files"\npath = "{place.drop}/*"\ncolumns = [{{ name = "note", type = "text" }}]')
    place.csv("a.csv", [{"note": "=1+1"}, {"note": "@SUM(A1)"}, {"note": "-2"}])

    place.run()

    assert place.rows("SELECT note FROM sales") == [("=1+1",), ("@SUM(A1)",), ("-2",)]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("latin.csv", "id,day,amount,plan\n1,2026-01-01,1,café\n".encode("latin-1"), "a text must be UTF-8"),
        ("cut.json", b'[{"id": 1, "day": "2026-01-01", "am', "cannot be read"),
        ("ragged.csv", b"id,day,amount,plan\n1,2026-01-01,1,plus\n2,2026-01-02,1,plus,9,9\n", "cannot be read"),
        ("a.xlsx", b"PK", "must end in .csv"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_and_loads_nothing(place, name, content, said):
    (place.drop / name).write_bytes(content)

    outcome = place.run()

    assert name in outcome.error
    assert said in outcome.error
    assert "\n" not in outcome.error
    assert place.lake() == []


def test_a_file_without_rows_loads_nothing_and_is_no_error(place):
    (place.drop / "a.csv").write_text("id,day,amount,plan\n")

    outcome = place.run()

    assert (outcome.error, outcome.rows) == (None, 0)


def test_no_file_at_all_is_said(place):
    assert "matches no file" in place.run().error


def test_a_packed_file_is_taken_only_as_far_as_the_limit_allows(place):
    with gzip.open(place.drop / "bomb.csv.gz", "wt") as file:
        file.write("id,day,amount,plan\n")
        for _ in range(200):
            file.write("1,2026-01-01,1,plus\n" * 10_000)

    outcome = place.run(max_bytes=2_100)

    assert (outcome.error, outcome.rows) == (None, 105)


def test_of_two_loads_at_once_the_second_waits_or_says_so(place):
    place.csv("a.csv", ROWS)
    with opened(place.data, "100MB", 0, print):
        with pytest.raises(WarehouseBusy, match=rf"process {os.getpid()}\) holds"):
            place.run(wait=0)
        waiting = start(place, "--wait", "30")
        assert "is under way: waiting for it" in waiting.stdout.readline()
        assert waiting.poll() is None

    assert waiting.wait(30) == 0
    assert place.ids() == list(range(1, 11))


def test_a_full_disk_loads_nothing_and_the_next_run_everything(place):
    random.seed(1)
    noise = [{"id": number, "note": f"{random.getrandbits(4_000):x}"} for number in range(1, 2_001)]
    place.declare(
        f'kind = "files"\npath = "{place.drop}/*"\nkey = ["id"]\n'
        'columns = [{ name = "id", type = "integer" }, { name = "note", type = "text" }]'
    )
    place.csv("a.csv", noise[:5])
    place.run()
    place.csv("b.csv", noise)

    def small_disk():
        # What a full disk does to a write: it fails. No file may grow beyond this.
        resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))

    failed = start(place, preexec_fn=small_disk)
    output = failed.communicate(timeout=60)[0]

    assert failed.returncode == 1
    assert "nothing of this batch was loaded" in output
    assert "Traceback" not in output
    assert (len(place.lake()), place.ids()) == (1, [1, 2, 3, 4, 5])
    assert place.run().error is None
    assert len(place.ids()) == 2_000


def test_killed_at_any_point_it_ends_as_one_clean_run_would(tmp_path):
    clean, killed = Place(tmp_path / "clean"), Place(tmp_path / "killed")
    for place in (clean, killed):
        for number in range(15):
            rows = [
                {"id": 700 * number + row, "day": "2026-01-01", "amount": row % 1_100, "plan": "plus"}
                for row in range(1, 1_001)
            ]
            place.csv(f"{number:02}.csv", rows)
    started = time.monotonic()
    assert start(clean).wait(120) == 0
    seconds = time.monotonic() - started
    moments = random.Random(3)

    deaths = 0
    for _ in range(7):
        process = start(killed)
        try:
            process.wait(moments.uniform(0.3, 1.0) * seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            deaths += 1
    assert start(killed).wait(120) == 0

    assert deaths > 1
    assert everything(killed) == everything(clean)
    assert killed.lake() == clean.lake()
    assert list((killed.data / "lake" / ".aside").glob("*")) == []


def test_a_clock_that_jumps_back_changes_no_order(place, monkeypatch):
    class Clock(datetime):
        moment = datetime(2026, 6, 1, tzinfo=UTC)

        @classmethod
        def now(cls, tz=None):
            return cls.moment

    monkeypatch.setattr(loading, "datetime", Clock)
    place.csv("a.csv", ROWS)
    place.run()
    Clock.moment -= timedelta(days=400)
    place.csv("b.csv", [{**ROWS[0], "amount": 99}])
    place.run()
    (place.data / "warehouse.duckdb").unlink()

    place.run()

    assert place.rows()[0][2] == 99


@pytest.mark.parametrize(("days", "is_stale"), [(3, True), (0, False), (-5, False)])
def test_a_source_whose_newest_row_is_too_old_is_stale(place, days, is_stale):
    day = (datetime.now(UTC) - timedelta(days=days)).date().isoformat()
    place.declare(f'kind = "files"\npath = "{place.drop}/*"\nmax_age_hours = 48\n{COLUMNS}')
    place.csv("a.csv", [{**ROWS[0], "day": day}])

    outcome = place.run()

    assert (outcome.is_stale, outcome.loaded) == (is_stale, 1)
    assert any(line.startswith("sales: stale: the newest row is") for line in place.said) == is_stale


def test_a_query_goes_on_where_its_cursor_was_left(place):
    url = f"sqlite:///{place.folder}/shop.db"
    engine = sa.create_engine(url)
    frame = pd.DataFrame(ROWS).assign(day=["2026-01-01"] * 4 + ["2026-01-02"] * 6)
    frame[:8].to_sql("sales", engine, index=False)
    place.declare(f'kind = "sql"\nurl_env = "SHOP_URL"\nquery = "SELECT * FROM sales"\n{COLUMNS}')
    secret = {"SHOP_URL": url}

    # The limit cuts within one day: no row of it may be lost.
    taken = [place.run(secret, limit=3).rows for _ in range(3)]
    frame[8:].to_sql("sales", engine, index=False, if_exists="append")
    place.run(secret)

    assert taken == [3, 3, 2]
    assert place.ids() == list(range(1, 11))
    assert place.run({"SHOP_URL": ""}).error.endswith("the environment has no SHOP_URL, the database's URL")


def test_a_database_s_own_types_arrive_as_they_are(place, postgresql):
    columns = {"id": "integer", "day": "date", "at": "timestamp", "amount": "number", "paid": "boolean", "note": "text"}
    declared = ", ".join(f'{{ name = "{name}", type = "{kind}", nullable = true }}' for name, kind in columns.items())
    place.declare(
        'kind = "sql"\nurl_env = "SHOP_URL"\nquery = "SELECT * FROM orders;"\n'
        f'key = ["id"]\ncursor = "at"\ncolumns = [{declared}]'
    )
    with postgresql.database() as url:
        with sa.create_engine(url).begin() as connection:
            connection.execute(
                sa.text("""CREATE TABLE orders AS SELECT 1::bigint AS id, DATE '2026-01-01' AS day,
                TIMESTAMPTZ '2026-01-01 12:00:00+02' AS at, 0.10::numeric AS amount, true AS paid,
                NULL::text AS note""")
            )
        secret = {"SHOP_URL": url}
        first = place.run(secret)
        again = place.run(secret)

    moment = datetime(2026, 1, 1, 10)
    assert (first.error, again.error) == (None, None)
    assert place.rows("SELECT COLUMNS('^[^_]') FROM sales") == [(1, moment.date(), moment, 0.1, True, None)]


def test_a_database_that_is_away_is_said_without_its_password(place):
    place.declare(f'kind = "sql"\nurl_env = "SHOP_URL"\nquery = "SELECT 1"\n{COLUMNS}')

    outcome = place.run({"SHOP_URL": "postgresql+psycopg://me:hush@127.0.0.1:9/shop"})

    assert "source sales:" in outcome.error
    assert "hush" not in outcome.error + " ".join(place.said)


def test_prepare_reads_a_table_of_the_warehouse(place):
    columns = "columns = [{ name = 'x', type = 'number' }, { name = 'label', type = 'text' }]"
    place.declare(f'kind = "files"\npath = "{place.drop}/*"\n{columns}')
    text = (place.folder / "project.toml").read_text().replace("sklearn:breast_cancer", "warehouse:sales")
    (place.folder / "project.toml").write_text(text.replace("diagnosis", "label").replace("components = 5", ""))
    with pytest.raises(InvalidSource, match="there is no warehouse yet; run make etl"):
        preparation.prepare(place.project, place.data, print)
    place.csv("a.csv", [{"x": number, "label": ["no", "yes"][number % 2]} for number in range(100)])
    place.run()

    prepared = preparation.prepare(place.project, place.data, lambda _: None)

    assert prepared.contract.names == ("x",)
    assert len(prepared.vectors) == 80
    place.run()
    assert preparation.is_current(place.project, place.data)


def test_a_table_of_the_warehouse_can_be_replayed(place):
    columns = "columns = [{ name = 'x', type = 'number' }, { name = 'label', type = 'text' }]"
    place.declare(f'kind = "files"\npath = "{place.drop}/*"\n{columns}')
    place.csv("a.csv", [{"x": number % 17, "label": ["no", "yes"][number % 2]} for number in range(300)])
    place.run()
    environment = {"BOUCLE_PROJECT": str(place.folder / "project.toml"), "BOUCLE_DATA": str(place.data)}
    environment["BOUCLE__EMBEDDING__COMPONENTS"] = "all"
    wanted = ["--target", "label", "--only", "yardsticks", "--out", str(place.folder / "out")]

    done = CliRunner().invoke(app, ["backtest", "warehouse:sales", *wanted], env=environment)

    assert done.exit_code == 0, done.output
    assert "warehouse_sales.parquet: 60 reference rows" in done.output


def test_a_table_that_there_is_not_is_said_with_those_that_there_are(place):
    place.csv("a.csv", ROWS)
    place.run()
    (place.folder / "project.toml").write_text(PROJECT.replace("sklearn:breast_cancer", "warehouse:sails"))

    with pytest.raises(InvalidSource, match=r"no such table; there are .*sales"):
        preparation.prepare(place.project, place.data, print)


def test_a_derived_table_is_made_afresh_and_stays_when_its_query_is_wrong(place):
    query = place.folder / "plans.sql"
    place.declare(
        f'kind = "files"\npath = "{place.drop}/*"\n{COLUMNS}', f'[[etl.tables]]\nname = "plans"\nquery = "{query}"'
    )
    query.write_text("SELECT plan, count(*) AS n FROM sales GROUP BY plan ORDER BY plan;\n")
    place.csv("a.csv", ROWS)
    place.run()
    query.write_text("SELECT plan FROM sails")

    outcomes = loading.run(place.project.etl, place.data, Wanted(), (), {}, 0, place.said.append)

    assert "sails" in outcomes[1].error
    assert place.rows("FROM plans") == [("basic", 5), ("plus", 5)]


def test_an_inferred_contract_loads_the_rows_that_it_was_inferred_from(place):
    place.declare(f'kind = "files"\npath = "{place.drop}/*"')
    place.csv("a.csv", [*ROWS, *({**row, "id": row["id"] + 10} for row in ROWS), {**ROWS[0], "id": 30, "amount": None}])
    assert "has no columns: boucle etl --infer --source sales" in place.run().error

    contract = infer(place.project.etl, Wanted(), ["sales"], {})
    place.declare(f'kind = "files"\npath = "{place.drop}/*"\n{contract}')

    assert '{ name = "plan", type = "text", categories = ["basic", "plus"] }' in contract
    assert '{ name = "amount", type = "number", nullable = true, minimum = 0 }' in contract
    outcome = place.run()
    assert (outcome.loaded, outcome.quarantined) == (21, 0)


def test_the_command_ends_with_what_was_done(place):
    place.csv("a.csv", ROWS)

    process = start(place, "--json", "--limit", "3", stderr=subprocess.PIPE)
    output, progress = process.communicate(timeout=60)

    assert process.returncode == 0
    assert json.loads(output)[0]["loaded"] == 3
    assert "3 rows of" in progress
    wrong = start(place, "--source", "sails")
    assert "project.toml declares no source sails; there are sales" in wrong.communicate(timeout=60)[0]
    assert wrong.returncode == 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('kind = "files"', 'kind = "ftp"', "etl.sources.0"),
        ('name = "sales"', 'name = "quarantine"', "is the name of a table that Boucle keeps"),
        ('key = ["id"]', 'key = ["idd"]', "source sales: idd is none of its columns"),
        ('type = "integer"', 'type = "int"', "Input should be 'integer'"),
        ('key = ["id"]', "max_age_hours = 1", "cursor that is a date"),
        ('key = ["id"]\n', "", "source sales needs a key: rows as new as the newest are asked for again"),
        ("minimum = 1 ", 'categories = ["a"] ', "only a text has categories"),
        ("minimum = 2020-01-01", "minimum = 3", "must be of its own kind"),
    ],
)
def test_a_wrong_declaration_is_one_line_with_what_is_allowed(place, old, new, said):
    if not new:
        place.declare(f'kind = "sql"\nurl_env = "URL"\nquery = "SELECT 1"\n{COLUMNS}')
    text = (place.folder / "project.toml").read_text().replace('cursor = "day"' if "max_age" in new else "\0", "")
    (place.folder / "project.toml").write_text(text.replace(old, new))

    with pytest.raises(InvalidProject) as refusal:
        _ = place.project

    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


def everything(place):
    return [
        place.rows("FROM sales ORDER BY ALL"),
        place.rows('SELECT source, batch, "row", reason, record FROM quarantine ORDER BY ALL'),
        place.rows("SELECT batch, number, rows, loaded, quarantined, superseded FROM etl_batches ORDER BY ALL"),
        place.rows("SELECT * FROM etl_positions ORDER BY ALL"),
    ]
