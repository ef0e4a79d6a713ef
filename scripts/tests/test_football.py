"""The example of docs/etl.md: results that come season by season, and a model of them."""

import os
import shutil
import threading
from pathlib import Path

import duckdb
import pytest
import requests

from boucle import preparation, training
from boucle.artifacts import Artifacts
from boucle.config import load_project
from boucle.etl import loading
from boucle.etl.taking import Wanted
from scripts.examples.football import Season, server
from tests.support import ROOT, NoTracking

RESULTS = Path(os.environ.get("FOOTBALL_RESULTS", ROOT.parent / "shared" / "datasets" / "football_epl"))

pytestmark = pytest.mark.skipif(not RESULTS.exists(), reason=f"the result files are not at {RESULTS}")


@pytest.fixture
def played():
    running = server(Season(RESULTS, seasons=3), port=0)
    threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()


@pytest.fixture
def project(tmp_path, played, monkeypatch):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    path = tmp_path / "examples" / "football" / "project.toml"
    path.write_text(path.read_text().replace("http://127.0.0.1:8900", played))
    monkeypatch.chdir(tmp_path)
    return load_project(path)


def load(project, folder):
    return {one.source: one for one in loading.run(project.etl, folder / "data", Wanted(), (), {}, 0, lambda _: None)}


def test_each_season_adds_its_results_and_the_model_is_better_than_always_home(project, played, tmp_path):
    first = load(project, tmp_path)
    for _ in range(7):
        requests.post(f"{played}/season", timeout=5)
    last = load(project, tmp_path)

    assert first["results"].loaded == 3 * 380
    assert last["results"].loaded - last["results"].superseded == 7 * 380
    # Of each team's first matches nothing is known: they are no rows.
    assert 3_600 < last["matches"].rows < 3_800
    prepared = preparation.prepare(project, tmp_path / "data", lambda _: None)
    artifacts = Artifacts(tmp_path / "artifacts")
    training.train(project, prepared, artifacts, NoTracking(), print, actor="test")
    home = prepared.contract.target.index("home")
    accuracy = artifacts.manifest("v1").metrics["held-out test rows"]["accuracy"]
    assert accuracy > (prepared.test_labels == home).mean()


def test_no_feature_knows_the_match_itself(project, tmp_path):
    load(project, tmp_path)
    query = (tmp_path / "examples" / "football" / "matches.sql").read_text().strip().rstrip(";")
    columns = "day, home_team, home_points, home_goal_difference, home_on_target, away_points, away_on_target"
    with duckdb.connect(tmp_path / "data" / "warehouse.duckdb") as connection:
        day = connection.execute('SELECT "Date" FROM results ORDER BY "Date" LIMIT 1 OFFSET 600').fetchone()[0]
        until = f"SELECT {columns} FROM ({query}) WHERE day <= ? ORDER BY ALL"
        before = connection.execute(until, [day]).fetchall()
        connection.execute("""UPDATE results SET "FTHG" = 15, "FTR" = 'H', "HST" = 40 WHERE "Date" >= ?""", [day])
        after = connection.execute(until, [day]).fetchall()

    assert len(before) > 400
    assert before == after
