"""The command line is documented, ends with the codes that it promises, and speaks JSON where it says so."""

import json
import re

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from boucle.cli import EXTRAS, app
from tests.support import ROOT

PAGE = (ROOT / "docs" / "command-line.md").read_text()
COMMANDS = get_command(app).commands
TABLE, EXTRA = PAGE.split("| extra | for |")
ROWS = dict(re.findall(r"^\| `([a-z]+)` \| (.+) \|$", TABLE, re.MULTILINE))


def boucle(home, *arguments):
    return CliRunner().invoke(app, arguments, env=home.environment())


def test_every_command_is_on_the_page_and_none_besides():
    assert set(ROWS) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command_is_on_the_page_and_in_its_help(name):
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts if option.startswith("--")}

    assert set(re.findall(r"`(--[a-z-]+)`", ROWS[name])) == options - {"--help"}
    assert COMMANDS[name].help


def test_the_extras_that_the_command_line_names_exist():
    declared = re.findall(r"^([a-z]+) = \[", (ROOT / "scripts" / "pyproject.toml").read_text(), re.MULTILINE)

    assert set(EXTRAS.values()) <= set(declared)
    assert set(EXTRAS.values()) <= set(re.findall(r"`([a-z]+)`", EXTRA))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["history"], 0),
        (["--version"], 0),
        (["score", "--help"], 0),
        (["nothing"], 2),
        (["history", "--nothing"], 2),
        (["history", "--at", "yesterday"], 2),
        (["score", "in.csv"], 2),
        (["notify", "a", "b", "--status", "perhaps"], 2),
    ],
)
def test_a_command_ends_with_the_code_of_how_it_went(home, arguments, code):
    assert boucle(home, *arguments).exit_code == code


def test_what_is_printed_for_programs_is_json(home):
    (reign,) = json.loads(boucle(home, "history", "--json").stdout)
    planned = json.loads(boucle(home, "prune", "--dry-run", "--json").stdout)
    pruned = json.loads(boucle(home, "prune", "--json").stdout)

    assert (reign["version"], reign["until"]) == ("v1", None)
    assert planned == {"predictions": 0, "versions": [{"version": "v1", "stays": "the champion"}]}
    assert pruned == {"predictions": 0, "versions": []}
