"""`boucle score`: the answers of the API for a whole table, from and to every kind of it, also when it is killed."""

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from sklearn.datasets import load_wine
from sqlalchemy import Boolean, Column, Double, Integer, MetaData, Table, Text, create_engine

from boucle import scoring
from boucle.artifacts import Artifacts
from boucle.errors import NotScored
from boucle.scoring import session
from boucle.scoring.parts import Parts
from serving.api import create_app
from serving.settings import Settings
from tests.support import ROOT, Home, kill, wait_for

PROJECT = """
[data]
source = "{source}"
target = "cultivar"
drop = ["id"]

[training]
candidates = ["logistic_regression"]
folds = 2
strategies = ["scratch"]
"""
COMMAND = ["-c", "import sys; from boucle.cli import main; sys.argv = ['boucle', *sys.argv[1:]]; main()"]


def wines(rows: int) -> pd.DataFrame:
    """Real numbers with gaps, and made-up categories and truths."""
    random = np.random.default_rng(1)
    bunch = load_wine(as_frame=True)
    table = bunch.data.sample(rows, replace=True, random_state=1).reset_index(drop=True).iloc[:, :6]
    table.insert(0, "id", np.arange(rows) + 2**60)
    table["soil"] = random.choice(["clay", "sand, dry", "lime"], rows)
    table["organic"] = random.choice([True, False], rows)
    table.loc[random.random(rows) < 0.1, "ash"] = np.nan
    return table.assign(cultivar=bunch.target.sample(rows, replace=True, random_state=1).to_numpy())


@pytest.fixture(scope="module")
def cellar(tmp_path_factory) -> Home:
    """A project with numbers, gaps, categories and truths."""
    folder = tmp_path_factory.mktemp("cellar")
    wines(400).to_csv(folder / "wines.csv", index=False)
    home = Home(folder).write(PROJECT.format(source=folder / "wines.csv"))
    home.train()
    return home


@pytest.fixture
def table() -> pd.DataFrame:
    return wines(2_500).drop(columns="cultivar")


def run(home, source, output, **more):
    job = scoring.Job(scoring.source_of(str(source)), scoring.sink_of(str(output), home.places.data), **more)
    return scoring.score(job, Artifacts(home.places.artifacts), lambda _: None)


def command(home, *arguments):
    return subprocess.run(
        [sys.executable, *COMMAND, "score", *map(str, arguments)],
        env=home.environment(),
        cwd=home.folder,
        capture_output=True,
        text=True,
        check=False,
    )


def of_the_api(home, table) -> list[dict]:
    settings = Settings(watch_seconds=60)
    with TestClient(create_app(settings, home.places)) as client:
        content = table.drop(columns="id").to_csv(index=False)
        answer = client.post("/predict/batch", content=content, headers={"Content-Type": "text/csv"})
    return [json.loads(line) for line in answer.text.splitlines()]


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_a_table_gets_the_answers_of_the_api(cellar, table, tmp_path, ending):
    source, output = tmp_path / f"in.{ending}", tmp_path / f"out.{ending}"
    table.to_parquet(source) if ending == "parquet" else table.to_csv(source, index=False)

    summary = run(cellar, source, output)

    scored = pd.read_parquet(output) if ending == "parquet" else pd.read_csv(output)
    answers = of_the_api(cellar, table)
    assert (summary.rows, summary.scored, summary.rejected) == (2_500, 2_500, 0)
    assert summary.ignored_columns == ("id",)
    assert scored["id"].tolist() == table["id"].tolist()
    assert scored["prediction"].tolist() == [answer["prediction"] for answer in answers]
    assert set(scored["model_version"]) == {answer["model_version"] for answer in answers}
    for name in answers[0]["probabilities"]:
        expected = [answer["probabilities"][name] for answer in answers]
        assert scored[f"probability_{name}"].tolist() == pytest.approx(expected, abs=1e-12)
    pd.testing.assert_frame_equal(scored[table.columns], table, check_dtype=ending == "parquet")


def fill(url, table, key=True):
    kinds = {"i": Integer, "f": Double, "b": Boolean}
    columns = [
        Column(name, kinds.get(table[name].dtype.kind, Text), primary_key=key and name == "id") for name in table
    ]
    wanted = Table("wines", MetaData(), *columns)
    wanted.metadata.create_all(engine := create_engine(url))
    rows = [{name: None if pd.isna(cell) else cell for name, cell in row.items()} for row in table.to_dict("records")]
    with engine.begin() as connection:
        connection.execute(wanted.insert(), rows)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
def test_a_table_of_a_database_gets_them_too(cellar, table, tmp_path, database):
    url = database or f"sqlite:///{tmp_path / 'wines.db'}"
    table["id"] -= 2**60
    fill(url, table)
    join = "&" if "?" in url else "?"

    run(cellar, f"{url}{join}table=wines", f"{url}{join}table=scored")
    again = run(cellar, f"{url}{join}table=wines", f"{url}{join}table=scored", replace=True)

    scored = pd.read_sql_query("SELECT * FROM scored ORDER BY id", create_engine(url))
    answers = of_the_api(cellar, table)
    assert again.scored == 2_500
    assert scored["prediction"].tolist() == [answer["prediction"] for answer in answers]
    assert scored["alcohol"].tolist() == table["alcohol"].tolist()
    assert scored["ash"].isna().tolist() == table["ash"].isna().tolist()
    assert not list((cellar.places.data / "scoring").glob("*.partial"))


def test_rows_that_do_not_fit_are_told_field_by_field_and_left_out(cellar, table, tmp_path):
    texts = table.head(5).astype(object)
    texts.loc[1, "alcohol"] = "=much"
    texts.loc[1, "soil"] = None
    texts.loc[3, "organic"] = "perhaps"
    texts.to_csv(tmp_path / "in.csv", index=False)
    with (tmp_path / "in.csv").open("a") as file:
        file.write("1,2\n")

    ended = command(cellar, tmp_path / "in.csv", tmp_path / "out.csv", "--json")

    summary = json.loads(ended.stdout)
    with (tmp_path / "out.csv.rejected.csv").open() as file:
        rejected = [(row["row"], row["field"], row["value"]) for row in csv.DictReader(file)]
    assert (ended.returncode, summary["rows"], summary["scored"], summary["rejected"]) == (1, 6, 3, 3)
    assert rejected == [
        ("2", "alcohol", '"=much"'),
        ("2", "soil", "null"),
        ("4", "organic", '"perhaps"'),
        ("6", "row", ""),
    ]
    assert pd.read_csv(tmp_path / "out.csv")["id"].tolist() == [table["id"][row] for row in (0, 2, 4)]
    assert command(cellar, tmp_path / "in.csv", tmp_path / "2.csv", "--max-rejected", 3).returncode == 0


def test_no_cell_of_the_csv_runs_as_a_formula(cellar, table, tmp_path):
    table = table.head(3).assign(note=["=HYPERLINK(1)", "-5", "@x"])
    table.to_csv(tmp_path / "in.csv", index=False)

    run(cellar, tmp_path / "in.csv", tmp_path / "out.csv")

    assert pd.read_csv(tmp_path / "out.csv", dtype=str)["note"].tolist() == ["'=HYPERLINK(1)", "-5", "'@x"]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_killed_run_goes_on_where_it_was_with_the_version_it_began_with(cellar, tmp_path, ending):
    home = Home(shutil.copytree(cellar.folder, tmp_path / "home"))
    table = wines(120_000).drop(columns="cultivar")
    source, whole, killed = (tmp_path / f"{name}.{ending}" for name in ("in", "whole", "killed"))
    table.to_parquet(source) if ending == "parquet" else table.to_csv(source, index=False)
    state = tmp_path / f"{killed.name}.partial" / "state.json"

    started = subprocess.Popen(
        [sys.executable, *COMMAND, "score", str(source), str(killed)],
        env=home.environment(),
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    wait_for(lambda: state.exists() and json.loads(state.read_text())["parts"] >= 1, "the first part")
    kill(started, signal.SIGKILL)
    started.wait()
    assert not killed.exists()
    home.train()  # another champion: the run under way stays with its own
    resumed = run(home, source, killed)

    assert resumed.resumed_at_row >= 20_000
    assert (resumed.rows, resumed.model_version) == (120_000, "v1")
    run(home, source, whole, version="v1")
    assert killed.read_bytes() == whole.read_bytes()
    assert not state.parent.exists()


def test_a_full_disk_is_one_line_and_the_next_run_ends_what_was_begun(cellar, table, tmp_path):
    source, output = tmp_path / "in.parquet", tmp_path / "out.parquet"
    table.to_parquet(source)
    words = [sys.executable, *COMMAND, "score", str(source), str(output)]
    environment = cellar.environment(PYTHONDONTWRITEBYTECODE="1")
    environment.pop("COVERAGE_PROCESS_CONFIG", None)  # its file would be longer

    ended = subprocess.run(
        ["sh", "-c", 'ulimit -f 40 && exec "$@"', "sh", *words],  # no file longer than 20 kB
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 1
    assert "out.parquet: cannot be written (File too large)" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not output.exists()
    assert run(cellar, source, output).scored == 2_500


def test_two_runs_do_not_write_the_same_output(cellar, table, tmp_path):
    table.to_csv(tmp_path / "in.csv", index=False)
    sink = scoring.sink_of(str(tmp_path / "out.csv"), cellar.places.data)

    with Parts(sink.folder).held(), pytest.raises(NotScored, match="another run is writing this output"):
        run(cellar, tmp_path / "in.csv", tmp_path / "out.csv")

    assert run(cellar, tmp_path / "in.csv", tmp_path / "out.csv").scored == 2_500


def test_the_nightly_line_of_the_docs_works(cellar, table, tmp_path):
    home = Home(shutil.copytree(cellar.folder, tmp_path / "home"))
    line = re.search(r"^15 2 \* \* \* (.+)$", (ROOT / "docs" / "scoring.md").read_text(), re.MULTILINE).group(1)
    (home.folder / ".venv").symlink_to(Path(sys.prefix))
    (home.places.data / "raw").mkdir(exist_ok=True)
    nightly = ["sh", "-c", line.replace("/home/me/boucle", str(home.folder))]

    failed = subprocess.run(nightly, env=home.environment(), capture_output=True, text=True, check=False)
    table.to_parquet(home.places.data / "raw" / "customers.parquet")
    for _ in range(2):
        subprocess.run(nightly, env=home.environment(), check=True)

    assert "failed: Nightly scoring: see data/score.log" in failed.stdout
    assert "customers.parquet: no such file" in (home.places.data / "score.log").read_text()
    assert len(pd.read_parquet(home.places.data / "scored.parquet")) == 2_500


def test_a_changed_input_is_scored_from_the_beginning(cellar, table, tmp_path, monkeypatch):
    monkeypatch.setattr(session, "PART_CHUNKS", 1)
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    table.to_csv(source, index=False)
    interrupt(cellar, source, output)

    time.sleep(0.01)
    table.head(1_100).to_csv(source, index=False)
    summary = run(cellar, source, output)

    assert (summary.resumed_at_row, summary.rows) == (0, 1_100)


def test_a_run_whose_version_was_pruned_meanwhile_begins_anew(cellar, table, tmp_path, monkeypatch):
    monkeypatch.setattr(session, "PART_CHUNKS", 1)
    home = Home(shutil.copytree(cellar.folder, tmp_path / "home"))
    table.to_csv(tmp_path / "in.csv", index=False)
    interrupt(home, tmp_path / "in.csv", tmp_path / "out.csv")
    home.train()
    home.train()
    assert home.artifacts.delete(["v1"]) == ["v1"]

    summary = run(home, tmp_path / "in.csv", tmp_path / "out.csv")

    assert (summary.resumed_at_row, summary.model_version, summary.scored) == (0, "v3", 2_500)


def interrupt(home, source, output):
    def stop_in_the_second_part(_):
        stop_in_the_second_part.heard += 1
        if stop_in_the_second_part.heard == 3:
            raise KeyboardInterrupt

    stop_in_the_second_part.heard = 0
    job = scoring.Job(scoring.source_of(str(source)), scoring.sink_of(str(output), home.places.data))
    with pytest.raises(KeyboardInterrupt):
        scoring.score(job, Artifacts(home.places.artifacts), stop_in_the_second_part)


def test_what_is_there_is_not_overwritten_unasked(cellar, table, tmp_path):
    table.head(3).to_csv(tmp_path / "in.csv", index=False)
    (tmp_path / "out.csv").write_text("mine")

    with pytest.raises(NotScored, match="exists; give --replace"):
        run(cellar, tmp_path / "in.csv", tmp_path / "out.csv")

    assert (tmp_path / "out.csv").read_text() == "mine"
    assert run(cellar, tmp_path / "in.csv", tmp_path / "out.csv", replace=True).scored == 3


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("in.csv", b"id,ash\n1,2\n", "has no column alcohol, malic_acid"),
        ("in.csv", b"", "has no header line"),
        ("in.csv", "soil\né\n".encode("latin-1"), "is not UTF-8"),
        ("in.csv.gz", b"no gzip", "cannot be read"),
        ("in.parquet", b"no parquet", "cannot be read"),
        ("in.xlsx", b"", "give a .csv"),
    ],
)
def test_an_input_that_cannot_be_used_is_refused_in_one_line(cellar, tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)

    ended = command(cellar, tmp_path / name, tmp_path / "out.csv")

    assert ended.returncode == 1
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_header_without_rows_is_refused_and_leaves_nothing(cellar, table, tmp_path):
    table.head(0).to_csv(tmp_path / "in.csv", index=False)

    with pytest.raises(NotScored, match="holds no row"):
        run(cellar, tmp_path / "in.csv", tmp_path / "out.csv")

    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_a_column_that_would_stand_twice_is_refused(cellar, table, tmp_path):
    table.head(3).assign(prediction=1).to_csv(tmp_path / "in.csv", index=False)

    with pytest.raises(NotScored, match="prediction would stand twice"):
        run(cellar, tmp_path / "in.csv", tmp_path / "out.csv")


def test_a_password_is_in_no_message(cellar, tmp_path):
    with pytest.raises(NotScored) as raised:
        # pragma: allowlist nextline secret
        run(cellar, "postgresql://me:secret@127.0.0.1:1/shop?table=wines", tmp_path / "out.csv")

    assert "secret" not in str(raised.value)


def test_a_quantity_is_scored_without_probabilities(cellar, table, tmp_path):
    project = PROJECT.replace("cultivar", "alcohol").replace("logistic_regression", "ridge")
    home = Home(tmp_path / "home").write(project.format(source=cellar.folder / "wines.csv"))
    home.train()
    table.drop(columns="alcohol").assign(cultivar=1).to_parquet(tmp_path / "in.parquet")

    run(home, tmp_path / "in.parquet", tmp_path / "out.parquet")

    scored = pd.read_parquet(tmp_path / "out.parquet")
    assert scored["prediction"].between(10, 16).all()
    assert not [name for name in scored if name.startswith("probability")]
