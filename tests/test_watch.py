"""`make watch`: each kind of file asks for its own steps, and a real process carries them out."""

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest
from sklearn.datasets import load_iris

from scripts.watch.steps import (
    CHECKS,
    COMPOSE,
    DASHBOARDS,
    ETL,
    LOCK,
    PREPARE,
    REPORT,
    TRAIN,
    Data,
    data_of,
    in_order,
    steps_for,
)
from tests import receivers
from tests.support import ROOT, Home, process, wait_for

HERE = Path("/project")
DATA = Data(HERE / "data/raw/rows.csv", ("/project/data/raw/results/*.json", "/lake/**/*.parquet"))
CHECKED = [step.name for step in CHECKS]


def names(*changed: str, is_reporting: bool = False) -> list[str]:
    steps = steps_for([HERE / path for path in changed], HERE, DATA, is_reporting=is_reporting)
    return [step.name for step in steps]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("serving/hot.py", [*CHECKED, "tests of serving/tests"]),
        ("scripts/boucle/drift/joint.py", [*CHECKED, "tests of scripts/tests"]),
        ("monitoring/exporter/api.py", [*CHECKED, "tests of monitoring/exporter/tests"]),
        ("serving/tests/test_hot.py", [*CHECKED, "tests of serving/tests/test_hot.py"]),
        ("tests/support.py", [*CHECKED, "tests of tests"]),
        ("scripts/dashboards/stack.py", [*CHECKED, "tests of scripts/tests", DASHBOARDS.name]),
        ("project.toml", [TRAIN.name]),
        ("data/raw/rows.csv", [PREPARE.name]),
        ("data/raw/results/2026.json", [ETL.name, PREPARE.name]),
        ("data/raw/results/2026.txt", []),
        ("uv.lock", [*CHECKED, LOCK.name]),
        ("webapp/Dockerfile", ["tests of tests/test_compose_files.py", COMPOSE.name]),
        ("docs/drift.md", ["tests of tests/test_layout.py"]),
        ("scripts/notebooks/training.ipynb", ["tests of scripts/tests/test_notebooks.py"]),
        ("data/prod_data.csv", []),
        ("artifacts/v1/model_card.md", []),
        (".venv/lib/anything.py", []),
        ("serving/__pycache__/hot.pyc", []),
        ("", []),
    ],
)
def test_a_file_asks_for_its_own_steps_and_no_other(path, expected):
    assert names(path) == expected


def test_each_step_is_done_once_and_what_is_quick_comes_first():
    steps = names("project.toml", "data/raw/rows.csv", "serving/hot.py", "serving/live.py", is_reporting=True)

    assert steps == [*CHECKED, "tests of serving/tests", PREPARE.name, TRAIN.name, REPORT.name]


def test_files_outside_of_the_folder_count_too():
    def steps(path):
        return steps_for([Path(path)], HERE, Data(Path("/rows.csv"), ("/lake/**/*.parquet",)), is_reporting=False)

    assert steps("/rows.csv") == [PREPARE]
    assert steps("/lake/2026/11/rows.parquet") == [ETL, PREPARE]
    assert steps("/other.csv") == []


def test_project_toml_says_which_files_are_data():
    files = [{"kind": "files", "path": "raw/*.json"}, {"kind": "files", "path": "/lake/**/*.parquet"}, {"kind": "http"}]
    collects = ("/project/raw/*.json", "/lake/**/*.parquet")

    read = data_of({"data": {"source": "raw/rows.csv"}, "etl": {"sources": files}}, HERE)

    assert read == Data(HERE / "raw/rows.csv", collects)
    assert (read.flat(), read.deep()) == ({HERE / "raw"}, {Path("/lake")})
    assert data_of({"data": {"source": "sklearn:breast_cancer"}}, HERE) == Data()
    assert data_of({"data": "nonsense", "etl": 3}, HERE) == Data()


def test_every_folder_of_tests_is_one_of_this_repository():
    changed = [ROOT / part / "anything.py" for part in ("scripts", "serving", "webapp", "reporting", "monitoring")]
    steps = in_order(steps_for(changed, ROOT, Data(), is_reporting=False))
    folders = [step.command[-1] for step in steps if step not in CHECKS]

    assert len(folders) == 5
    assert all((ROOT / folder).is_dir() for folder in folders)


@pytest.fixture
def watched(tmp_path):
    """A project in a folder of its own."""
    source = tmp_path / "rows.csv"
    load_iris(as_frame=True).frame.to_csv(source, index=False)
    project = f'[data]\nsource = "{source}"\ntarget = "target"\n[training]\ncandidates = ["logistic_regression"]\n'
    home = Home(tmp_path / "project").write(f"{project}folds = 2\n")
    (home.folder / "serving").mkdir()
    return home, source


def test_a_real_watcher_runs_the_step_tells_how_it_ended_and_resumes_what_failed(watched):
    home, source = watched
    log = home.folder.parent / "watch.log"
    code = f"import os, runpy; os.chdir({str(home.folder)!r}); runpy.run_module('scripts.watch', run_name='__main__')"
    with receivers.slack() as webhook:
        environment = home.environment(
            PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            BOUCLE_NOTIFY_URLS=webhook.url.replace("http", "json"),
            REPORTING_PORT="1",
        )

        def told(number):
            message = wait_for(lambda: webhook.posted[number:], f"message {number}: {log}", 240)[0]
            return message["type"], message["message"]

        with process(["-c", code], environment, log) as started:
            wait_for(lambda: log.exists() and "waiting for changes" in log.read_text(), "the watcher")
            lines = source.read_text().splitlines()
            for count in (100, 120, 130):  # in strokes, as an editor writes: one run
                source.write_text("\n".join(lines[:count]))
            assert told(0) == ("success", "prepare: passed")
            assert len((home.places.data / "ref_data.csv").read_text().splitlines()) == 1 + 129 - 26

            home.write(home.places.project.read_text().replace("target = ", "targget = "))
            assert told(1) == ("failure", "train failed; passed before: nothing")

            source.write_text("\n".join(lines))
            assert told(2) == ("failure", "prepare failed; passed before: nothing")

            home.write(home.places.project.read_text().replace("targget", "target"))
            assert told(3) == ("success", "prepare, train: passed")
            assert home.artifacts.champion_version() == "v1"

            (home.folder / "serving" / "odd.py").write_text("x=1")
            assert told(4) == ("failure", "format failed; passed before: nothing")

            (home.folder / "serving" / "odd.py").unlink()
            wait_for(lambda: "watch    lint" in log.read_text(), "a step under way")
            children = psutil.Process(started.pid).children(recursive=True)
            os.kill(started.pid, signal.SIGINT)
            assert started.wait(20) == 0
            assert [child for child in children if child.is_running() and child.status() != "zombie"] == []
    # The last words of the step that was ended may come behind its own.
    assert "watch    ended\n" in log.read_text()
    assert "scripts/watch/" not in log.read_text()  # no traceback of its own; that of a step is none of ours
