"""Who was champion when, and why: also behind crashes, on old folders, and by the command line."""

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from boucle.artifacts import MANIFEST
from boucle.cli import app
from boucle.errors import CorruptArtifact, ModelNotFound, NobodyInCharge
from tests.support import ROOT

# A real process that really dies by SIGKILL in the middle of a promotion.
DYING = """
import os, signal, sys
from pathlib import Path
from boucle import files
from boucle.artifacts import Artifacts
from boucle.history import History
def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)
{death}
Artifacts(Path(sys.argv[1])).promote("v3", replacing="v2", reason="third", actor="the dead one")
"""
DEATHS = {
    "before the pointer moves": "files.replace = die",
    "behind the pointer, before the line": "replace = files.replace; files.replace = lambda *a: (replace(*a), die())",
    "behind the line": "note = History.note; History.note = lambda *a: (note(*a), a[1].version == 'v3' and die())",
}


@pytest.fixture
def artifacts(home):
    """Three equal versions; the second is the champion."""
    manifest = home.artifacts.manifest("v1")
    contents = {name: (home.places.artifacts / "v1" / name).read_bytes() for name in manifest.files}
    for _ in range(2):
        home.artifacts.publish(manifest, contents)
    home.artifacts.promote("v2", replacing="v1", reason="second", actor="me")
    return home.artifacts


def told(artifacts):
    return [(reign.promotion.version, reign.promotion.reason) for reign in artifacts.reigns()]


FIRST = ("v1", "best of 1 candidates by cross-validation")


def test_every_promotion_is_kept_with_its_reason_and_its_actor(artifacts):
    artifacts.promote("v1", replacing="v2", reason="v2 is odd", actor="Ada")

    newest, second, first = artifacts.reigns()

    assert (newest.promotion.version, newest.promotion.previous, newest.until) == ("v1", "v2", None)
    assert (newest.promotion.reason, newest.promotion.actor) == ("v2 is odd", "Ada")
    assert (second.promotion.version, second.until) == ("v2", newest.promotion.promoted_at)
    assert (first.promotion.version, first.promotion.previous, first.promotion.actor) == ("v1", None, "test")


def test_who_was_champion_at_a_time_is_answered(artifacts):
    second, first = (datetime.fromisoformat(reign.promotion.promoted_at) for reign in artifacts.reigns())
    moment = timedelta(milliseconds=1)

    assert artifacts.champion_at(first).promotion.version == "v1"
    assert artifacts.champion_at(second - moment).promotion.version == "v1"
    assert artifacts.champion_at(second).promotion.version == "v2"
    assert artifacts.champion_at(second + timedelta(days=1)).until is None
    with pytest.raises(NobodyInCharge, match="v1, the first that is known, was promoted at"):
        artifacts.champion_at(first - moment)


def test_promoting_the_champion_again_changes_nothing(home, artifacts):
    before = {path.name: path.read_bytes() for path in home.places.artifacts.glob("*.json*")}

    again = artifacts.promote("v2", replacing="v1", reason="again", actor="a client that had no answer")

    assert again.reason == "second"
    assert {path.name: path.read_bytes() for path in home.places.artifacts.glob("*.json*")} == before


def test_promoting_a_champion_again_does_not_bless_a_changed_manifest(home, artifacts):
    manifest = home.places.artifacts / "v2" / MANIFEST
    manifest.write_text(manifest.read_text().replace("logistic_regression", "random_forest"))

    with pytest.raises(CorruptArtifact, match=r"v2/manifest\.json"):
        artifacts.promote("v2", replacing="v2", reason="", actor="")


@pytest.mark.parametrize("death", DEATHS)
def test_a_promotion_killed_anywhere_is_told_if_and_only_if_it_took_effect(home, artifacts, death):
    code = DYING.format(death=DEATHS[death])
    dead = subprocess.run(
        [sys.executable, "-c", code, str(artifacts.root)], cwd=ROOT, env=home.environment(), check=False
    )
    assert dead.returncode == -signal.SIGKILL
    expected = [("v2", "second"), FIRST] if death.startswith("before") else [("v3", "third"), ("v2", "second"), FIRST]

    assert told(artifacts) == expected
    assert artifacts.champion_version() == expected[0][0]
    artifacts.promote("v1", replacing=expected[0][0], reason="next", actor="")

    assert told(artifacts) == [("v1", "next"), *expected]
    assert len((artifacts.root / "promotions.jsonl").read_text().splitlines()) == len(expected) + 1


def test_a_line_that_was_torn_anywhere_is_mended(artifacts):
    path = artifacts.root / "promotions.jsonl"
    whole, expected = path.read_bytes(), told(artifacts)
    for cut in range(1, len(whole.splitlines(keepends=True)[-1]) + 1):
        path.write_bytes(whole[:-cut])

        assert told(artifacts) == expected

    path.write_bytes(whole[:-20])
    artifacts.promote("v3", replacing="v2", reason="third", actor="")
    assert told(artifacts) == [("v3", "third"), *expected]
    assert path.read_bytes().startswith(whole)


def test_a_folder_without_history_tells_of_its_champion_and_goes_on_from_there(artifacts):
    (artifacts.root / "promotions.jsonl").unlink()

    assert told(artifacts) == [("v2", "second")]
    artifacts.promote("v3", replacing="v2", reason="third", actor="")

    assert told(artifacts) == [("v3", "third"), ("v2", "second")]


def test_an_unreadable_line_hides_no_other(artifacts):
    path = artifacts.root / "promotions.jsonl"
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + b'{"version": "v9"}\n\xff\xfe\n' + second)

    assert told(artifacts) == [("v2", "second"), FIRST]


def test_without_a_champion_the_history_waits_for_the_next_one(artifacts):
    artifacts.pointer_path.unlink()

    with pytest.raises(ModelNotFound, match="holds no champion"):
        artifacts.reigns()
    artifacts.promote("v3", replacing=None, reason="third", actor="")

    assert told(artifacts) == [("v3", "third"), ("v2", "second"), FIRST]


def test_a_manifest_from_before_the_verdicts_is_read(home):
    path = home.places.artifacts / "v1" / MANIFEST
    content = json.loads(path.read_text())
    older = {name: value for name, value in content.items() if name not in ("strategy", "verdict", "reason")}
    assert len(older) == len(content) - 3
    path.write_text(json.dumps(older))

    manifest = home.artifacts.manifest("v1")

    assert (manifest.strategy, manifest.verdict, manifest.reason) == ("scratch", "promoted", "")


def test_the_command_line_rolls_back_and_tells_the_history(home, artifacts):
    def boucle(*arguments):
        result = CliRunner().invoke(app, arguments, env=home.environment())
        assert result.exit_code == 0, result.output
        return [line.removeprefix(f"{arguments[0]:8} ") for line in result.output.splitlines()]

    assert boucle("promote", "v1", "--reason", "v2 is odd") == ["v1 is the champion; it replaced v2"]
    assert boucle("promote", "v1") == ["v1 is the champion; it was already"]
    lines = boucle("history")
    assert [line.split()[0] for line in lines] == ["v1", "v2", "v1"]
    assert lines[0].endswith("to now: v2 is odd (command line)")
    assert boucle("history", "--at", f"{datetime.now(UTC) + timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}") == lines[:1]
