"""What is deleted, and above all what is not."""

import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from boucle import pruning
from boucle.artifacts import Artifacts
from boucle.cli import app
from boucle.config import RetentionSection
from boucle.errors import CorruptArtifact, ModelNotFound
from tests.support import ROOT, on_each_database, predicted

NOW = datetime.now(UTC)
LATER = NOW + timedelta(hours=2)  # no version was champion within the last hour any more

# A real process that really dies by SIGKILL between moving a version aside and deleting it.
DYING = """
import os, shutil, signal, sys
from pathlib import Path
from boucle.artifacts import Artifacts
shutil.rmtree = lambda *arguments, **options: os.kill(os.getpid(), signal.SIGKILL)
Artifacts(Path(sys.argv[1])).delete({"v1"})
"""


def publish(home, like="v1"):
    manifest = home.artifacts.manifest(like)
    contents = {name: (home.places.artifacts / like / name).read_bytes() for name in manifest.files}
    return home.artifacts.publish(manifest, contents).version


@pytest.fixture
def many(home):
    """Eight equal versions; v5 is the champion, v3 the previous one, and v1 was the first."""
    for _ in range(7):
        publish(home)
    for version, replaced in (("v3", "v1"), ("v5", "v3")):
        home.artifacts.promote(version, replacing=replaced, reason="", actor="")
    return home


def keeping(home, **retention):
    return home.project.model_copy(update={"retention": RetentionSection(**retention)})


def days_ago(days):
    return NOW - timedelta(days=days)


@on_each_database
def test_what_nothing_needs_goes_and_the_plan_says_so_beforehand(many):
    many.store.predictions.add([predicted("v2"), predicted("v2"), predicted("v9")])
    project = keeping(many, versions=2)

    planned = pruning.plan(project, many.artifacts, many.store, LATER)
    assert many.artifacts.versions() == [f"v{number}" for number in range(1, 9)]
    pruned = pruning.prune(project, many.artifacts, many.store, LATER)

    assert {fate.version: fate.stays for fate in planned.versions} == {
        "v1": None,
        "v2": "predictions in the log name it",
        "v3": "the previous champion",
        "v4": None,
        "v5": "the champion",
        "v6": None,
        "v7": "one of the newest 2",
        "v8": "one of the newest 2",
    }
    assert (pruned.versions, pruned.predictions, pruned.is_complete) == (("v1", "v4", "v6"), 0, True)
    assert all(many.artifacts.load(version) for version in ("v2", "v3", "v5", "v7", "v8"))
    assert many.artifacts.versions() == ["v2", "v3", "v5", "v7", "v8"]
    assert [path.name for path in many.places.artifacts.glob(".deleted-*")] == []
    assert pruning.prune(project, many.artifacts, many.store, LATER).versions == ()


def test_a_version_that_was_champion_a_moment_ago_stays_for_the_predictions_on_their_way(many):
    shortly = NOW + timedelta(minutes=30)

    pruned = pruning.prune(keeping(many, versions=1), many.artifacts, many.store, shortly)

    assert pruned.versions == ("v2", "v4", "v6", "v7")


@on_each_database
def test_old_predictions_go_with_their_version_and_young_ones_stay_for_late_feedback(many):
    log = many.store.predictions
    log.add([predicted("v2", days_ago(31)) for _ in range(3)])
    young = predicted("v4", days_ago(29))
    log.add([predicted("v4", days_ago(31)), young])
    project = keeping(many, versions=1, predictions_days=30)

    planned = pruning.plan(project, many.artifacts, many.store, LATER)
    assert log.count() == 5
    pruned = pruning.prune(project, many.artifacts, many.store, LATER)

    assert planned.predictions == pruned.predictions == 4
    gone = tuple(fate.version for fate in planned.versions if not fate.stays)
    assert gone == pruned.versions == ("v1", "v2", "v6", "v7")
    assert log.find(young.first_id) is not None
    assert log.count() == 1


def test_every_prediction_stays_by_default(many):
    many.store.predictions.add([predicted("v2", days_ago(5_000))])

    pruned = pruning.prune(many.project, many.artifacts, many.store, LATER)

    assert (pruned.predictions, many.store.predictions.count()) == (0, 1)
    assert "v2" in many.artifacts.versions()


@on_each_database
def test_more_old_predictions_than_one_call_takes_are_left_for_the_next_one(home):
    log, cutoff = home.store.predictions, NOW.isoformat(timespec="milliseconds")
    for version in ("v1", "v2"):
        log.add([predicted(version, days_ago(1 + number)) for number in range(700)])

    assert log.older_than(cutoff) == 1_400
    assert log.prune(cutoff, most=1_100) == 1_100
    assert log.older_than(cutoff) == 300
    assert log.prune(cutoff, most=1_100) == 300
    assert log.count() == 0


@on_each_database
def test_a_version_stays_while_the_log_still_holds_an_old_prediction_of_it(many, monkeypatch):
    monkeypatch.setattr(pruning, "MOST_PREDICTIONS", 2)
    many.store.predictions.add([predicted("v2", days_ago(31)) for _ in range(3)])
    project = keeping(many, versions=1, predictions_days=30)

    first = pruning.prune(project, many.artifacts, many.store, LATER)
    second = pruning.prune(project, many.artifacts, many.store, LATER)

    assert (first.predictions, first.is_complete, first.versions) == (2, False, ("v1", "v4", "v6", "v7"))
    assert (second.predictions, second.is_complete, second.versions) == (1, True, ("v2",))


@on_each_database
def test_the_log_knows_when_each_version_was_used_last(home):
    log = home.store.predictions
    assert log.last_used() == {}
    log.add([predicted(version, days_ago(days)) for version in ("v10", "v2", "v1") for days in (2, 1)])

    last = days_ago(1).isoformat(timespec="milliseconds")
    assert log.last_used() == dict.fromkeys(("v1", "v2", "v10"), last)


def test_the_champion_the_previous_and_the_newest_are_not_deleted_whoever_asks(many):
    assert many.artifacts.delete(set(many.artifacts.versions())) == ["v1", "v2", "v4", "v6", "v7"]
    assert many.artifacts.versions() == ["v3", "v5", "v8"]


@pytest.mark.parametrize("damage", ["delete", "garble"])
def test_while_nobody_is_in_charge_nothing_is_deleted(many, damage):
    pointer = many.artifacts.pointer_path
    pointer.unlink() if damage == "delete" else pointer.write_bytes(b"?")
    project = keeping(many, versions=1)

    assert many.artifacts.delete({"v1", "v2"}) == []
    assert pruning.prune(project, many.artifacts, many.store, LATER).versions == ()
    assert all(fate.stays for fate in pruning.plan(project, many.artifacts, many.store, LATER).versions)


def test_an_empty_folder_is_pruned_too(home, tmp_path):
    pruned = pruning.prune(home.project, Artifacts(tmp_path / "nothing"), home.store, LATER)

    assert pruned == pruning.Pruned(predictions=0, versions=())


def test_a_pruner_killed_in_the_middle_leaves_whole_versions_and_is_tidied_up_after(many):
    dead = subprocess.run(
        [sys.executable, "-c", DYING, str(many.places.artifacts)], cwd=ROOT, env=many.environment(), check=False
    )
    assert dead.returncode == -signal.SIGKILL

    assert many.artifacts.versions() == [f"v{number}" for number in range(2, 9)]
    assert len(list(many.places.artifacts.glob(".deleted-v1-*"))) == 1
    with pytest.raises(ModelNotFound):
        many.artifacts.load("v1")
    assert many.artifacts.delete(()) == []

    assert list(many.places.artifacts.glob(".deleted-*")) == []


def test_a_number_is_never_given_twice(many):
    pruning.prune(keeping(many, versions=1), many.artifacts, many.store, LATER)
    assert publish(many, like="v5") == "v9"
    many.artifacts.promote("v9", replacing="v5", reason="", actor="")

    for version in ("v8", "v9"):  # by hand, against the advice of the README
        (many.places.artifacts / version).rename(many.folder / version)

    assert publish(many, like="v5") == "v10"


def test_a_version_that_was_pruned_while_it_was_checked_cannot_be_promoted(many):
    class Overtaken(Artifacts):
        def _load_served(self, manifest):
            loaded = super()._load_served(manifest)
            Artifacts(self.root).delete({manifest.version})
            return loaded

    with pytest.raises(ModelNotFound, match="no version 'v2'"):
        Overtaken(many.places.artifacts).promote("v2", replacing="v5", reason="", actor="")

    assert many.artifacts.load_champion().version == "v5"


def test_loading_a_version_while_it_is_pruned_gives_it_whole_or_an_error_that_is_expected(many):
    seen, stop = [], threading.Event()

    def load():
        while not stop.is_set():
            try:
                seen.append(many.artifacts.load("v2").version)
            except (ModelNotFound, CorruptArtifact) as refusal:
                seen.append(type(refusal))
                return
            except BaseException as surprise:  # a thread's exception would be lost
                seen.append(surprise)
                raise

    threads = [threading.Thread(target=load) for _ in range(4)]
    [thread.start() for thread in threads]
    while len(seen) < 8:
        stop.wait(0.01)
    many.artifacts.delete({"v2"})
    [thread.join(30) for thread in threads]
    stop.set()

    assert set(seen) <= {"v2", ModelNotFound, CorruptArtifact}
    assert sum(one != "v2" for one in seen) == 4


def test_the_command_line_prunes_and_says_beforehand_what_would_go(many):
    many.store.predictions.add([predicted("v2", days_ago(31)), predicted("v4", days_ago(1))])
    environment = many.environment(BOUCLE__RETENTION__VERSIONS="1", BOUCLE__RETENTION__PREDICTIONS_DAYS="30")

    def boucle(*arguments):
        result = CliRunner().invoke(app, arguments, env=environment)
        assert result.exit_code == 0, result.output
        return [line.removeprefix("prune    ") for line in result.output.splitlines()]

    said = boucle("prune", "--dry-run")
    assert "v2    would go" in said
    assert "v4    stays: predictions in the log name it" in said
    assert said[-1] == "1 predictions would go"
    assert len(many.artifacts.versions()) == 8
    assert boucle("prune") == ["1 predictions and v2, v6, v7 went"]
    assert many.artifacts.versions() == ["v1", "v3", "v4", "v5", "v8"]
