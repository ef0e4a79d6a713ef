"""The notebooks run from top to bottom, and are committed without what they printed."""

import json
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support import ROOT

NOTEBOOKS = sorted((ROOT / "scripts" / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_in_a_fresh_copy_of_the_project(path, home, monkeypatch):
    folder = home.folder / "scripts" / "notebooks"
    folder.mkdir(parents=True)
    shutil.copy(path, folder)
    before = home.artifacts.champion()
    for name, value in home.environment(MPLBACKEND="agg").items():
        monkeypatch.setenv(name, value)
    for name in ("BOUCLE_PROJECT", "BOUCLE_DATA", "BOUCLE_ARTIFACTS"):
        monkeypatch.delenv(name)  # as for somebody who opens it

    notebook = nbformat.read(folder / path.name, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()

    last = [cell for cell in notebook.cells if cell.cell_type == "code"][-1]
    assert last.outputs
    assert home.artifacts.champion() == before


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_without_its_outputs(path):
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]

    assert [cell for cell in cells if cell["outputs"] or cell["execution_count"]] == []


def test_both_notebooks_are_there():
    assert [Path(path).stem for path in NOTEBOOKS] == ["exploration", "training"]
