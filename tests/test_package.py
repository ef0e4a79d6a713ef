"""The wheel that `make package` builds installs into an empty environment and trains a model there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sklearn.datasets import load_iris

from tests.support import ROOT

UV = Path(sys.executable).with_name("uv")
PROJECT = """
[data]
source = "iris.csv"
target = "target"

[training]
candidates = ["logistic_regression"]
folds = 2
"""


def run(*command, cwd, **more):
    """The command as a stranger runs it: with this machine's way to the packages, without our code and settings."""
    ours = ("PYTHON", "BOUCLE", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={**environment, "COLUMNS": "200", **more},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The command, in an environment with nothing but the wheel and what it asks for."""
    folder = tmp_path_factory.mktemp("package")
    built = run(UV, "build", "--wheel", "--package", "boucle", "--out-dir", folder, cwd=ROOT)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("boucle-*.whl")
    environment = folder / "environment"
    made = run(UV, "venv", "--python", sys.executable, environment, cwd=folder)
    assert made.returncode == 0, made.stderr
    python = environment / "bin" / "python"
    locked = ROOT / "scripts" / "requirements.txt"
    done = run(UV, "pip", "install", "--python", python, "--constraint", locked, f"{wheel}[score]", cwd=folder)
    if done.returncode != 0 and not os.environ.get("CI"):
        pytest.skip(f"the packages cannot be had: {done.stderr[-200:]}")
    assert done.returncode == 0, done.stderr
    return environment / "bin" / "boucle"


def test_it_tells_its_version_and_its_commands(installed, tmp_path):
    version = run(installed, "--version", cwd=tmp_path).stdout.strip()
    told = run(installed, "--help", cwd=tmp_path)

    assert f"boucle-{version}-" in next(installed.parents[2].glob("*.whl")).name
    assert told.returncode == 0
    assert "Predict every row of a table" in told.stdout


def test_it_trains_and_scores_a_project(installed, tmp_path):
    (tmp_path / "project.toml").write_text(PROJECT)
    table = load_iris(as_frame=True).frame
    table.to_csv(tmp_path / "iris.csv", index=False)
    table.drop(columns="target").to_parquet(tmp_path / "new.parquet")

    trained = run(installed, "train", cwd=tmp_path)
    scored = run(installed, "score", "new.parquet", "scored.csv", cwd=tmp_path)

    assert trained.returncode == 0, trained.stderr
    assert trained.stdout.splitlines()[-1].startswith("train    v1 is the champion: logistic_regression")
    assert (scored.returncode, scored.stdout.splitlines()[-1]) == (0, "score    150 rows by v1 in scored.csv")


def test_a_command_whose_extra_is_not_installed_names_it(installed, tmp_path):
    told = run(installed, "notify", "title", "text", cwd=tmp_path, BOUCLE_NOTIFY_URLS="json://127.0.0.1:1")

    assert (told.returncode, told.stderr) == (1, "this needs apprise: pip install 'boucle[notify]'\n")
