"""The prose and the tree agree; what must not be there is not."""

import json
import re
import subprocess

import pytest

from boucle.embedded import Ports
from tests.support import ROOT

PROSE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]


def targets():
    return set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", PROSE, ids=lambda page: page.name)
def test_every_make_target_that_a_page_names_exists(page):
    named = re.findall(r"`(?:[A-Z_]+=\S+ )*make ([a-z0-9-]+)`|^make ([a-z0-9-]+)", page.read_text(), re.MULTILINE)

    assert {first or second for first, second in named} <= targets()


@pytest.mark.parametrize("page", PROSE, ids=lambda page: page.name)
def test_every_link_between_pages_leads_somewhere(page):
    links = re.findall(r"\]\(((?!http)[^)#]+)\)", page.read_text())

    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_folder_and_file_on_the_map_exists():
    rows = re.search(r"## Where everything lives\n(.*?)\n## ", (ROOT / "README.md").read_text(), re.DOTALL).group(1)
    named = re.findall(
        r"`([\w./-]+)`", "".join(row.split("|")[1] for row in rows.splitlines() if row.startswith("| `"))
    )

    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_port_in_the_readme_is_one_of_the_stack():
    ports = {str(port) for port, _ in Ports().parts.values()}

    assert set(re.findall(r"localhost:(\d+)", (ROOT / "README.md").read_text())) <= ports


def test_each_process_of_make_run_is_a_part_with_a_port_or_a_worker():
    processes = set(re.findall(r"^(\w+):", (ROOT / "Procfile").read_text(), re.MULTILINE))

    assert processes == {*Ports().parts, "trainer", "ready"}


def test_make_run_tells_the_exporter_where_the_parts_without_metrics_are():
    line = re.search(r"^exporter: (.*) nice ", (ROOT / "Procfile").read_text(), re.MULTILINE).group(1)
    parts = {name: part for name, part in Ports().parts.items() if name not in ("serving", "exporter")}
    ports = {f"{name.upper()}_PORT": str(port) for name, (port, _) in parts.items()}

    told = subprocess.run(["sh", "-c", f'{line} && echo "$EXPORTER_PARTS"'], env=ports, capture_output=True, check=True)

    assert json.loads(told.stdout) == {name: f"http://127.0.0.1:{port}{path}" for name, (port, path) in parts.items()}


def test_the_folder_mlflow_holds_no_python_since_the_library_owns_the_name():
    assert list((ROOT / "mlflow").rglob("*.py")) == []


def test_no_module_bears_the_name_of_a_library():
    libraries = {"evidently", "mlflow", "streamlit", "sklearn", "prometheus_client", "duckdb", "art"}
    modules = [path for part in ("scripts", "serving", "webapp", "reporting") for path in (ROOT / part).rglob("*.py")]

    assert [path for path in modules if path.stem in libraries] == []
