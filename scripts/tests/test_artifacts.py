import json
import shutil
import threading

import numpy as np
import pytest

from boucle import models, training
from boucle.errors import ChampionMoved, CorruptArtifact, ModelNotFound
from boucle.publishing import Lineage, publish
from boucle.training import candidates


def another_version(home, parent="v1"):
    prepared = home.preparation
    recipe = candidates(home.project, prepared.embedding)[0]
    model = models.fit(recipe, prepared.vectors, prepared.labels, n_classes=2)
    lineage = Lineage("again", "balanced_accuracy", parent_version=parent)
    return publish(home.artifacts, prepared, "Test", recipe, model, {}, lineage).version


def test_a_loaded_version_answers_as_the_trained_one(home):
    version = home.artifacts.load_champion()
    expected = version.model.outputs(home.preparation.embedding.vectors(home.preparation.test_records))

    assert np.array_equal(version.outputs(home.preparation.test_records), expected)
    assert version.manifest.metrics["held-out test rows"]["balanced_accuracy"] > 0.9  # the base rate is 0.5


@pytest.mark.parametrize("name", ["scaler.pkl", "embedding.pkl", "model.pkl", "model_card.md", "manifest.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
def test_a_damaged_file_is_refused_and_never_unpickled(home, name, damage):  # F3
    path = home.places.artifacts / "v1" / name
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif damage == "truncate":
        path.write_bytes(content[:-1])
    else:
        path.unlink()

    with pytest.raises(CorruptArtifact, match=f"v1/{name}"):
        home.artifacts.load_champion()


def test_a_damaged_version_cannot_be_promoted(home):  # T11
    version = another_version(home)
    (home.places.artifacts / version / "model.pkl").write_bytes(b"nonsense")

    with pytest.raises(CorruptArtifact):
        home.artifacts.promote(version, replacing="v1", reason="", actor="")

    assert home.artifacts.champion_version() == "v1"


def test_a_version_that_was_loaded_to_be_promoted_is_not_read_again_by_its_promoter(home):
    version, promoter = another_version(home), home.artifacts
    promoter.promote(version, replacing="v1", reason="", actor="")
    (home.places.artifacts / version / "model.pkl").write_bytes(b"nonsense")

    assert promoter.load_served().version == version
    for artifacts in (promoter, home.artifacts):  # once, and nobody else
        with pytest.raises(CorruptArtifact):
            artifacts.load_served()


def test_a_refused_promotion_leaves_its_version_out_of_service(home):
    version, promoter = another_version(home), home.artifacts
    with pytest.raises(ChampionMoved):
        promoter.promote(version, replacing="v9", reason="", actor="")

    assert promoter.load_served().version == "v1"


def test_a_promotion_that_expected_another_champion_is_refused(home):  # T5
    slow, fast = another_version(home), another_version(home)
    home.artifacts.promote(fast, replacing="v1", reason="", actor="run 2")

    with pytest.raises(ChampionMoved, match="v3 is the champion by now, not v1"):
        home.artifacts.promote(slow, replacing="v1", reason="", actor="run 1")

    assert home.artifacts.champion_version() == fast
    assert home.artifacts.champion().previous == "v1"


def test_of_many_rival_promotions_exactly_one_wins(home):
    rivals = [another_version(home) for _ in range(8)]
    won, lost = [], []

    def promote(version):
        try:
            home.artifacts.promote(version, replacing="v1", reason="", actor="")
            won.append(version)
        except ChampionMoved:
            lost.append(version)

    threads = [threading.Thread(target=promote, args=[version]) for version in rivals]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]

    assert (len(won), len(lost)) == (1, 7)
    assert home.artifacts.champion_version() == won[0]


def test_rival_publishers_get_numbers_of_their_own(home):
    versions = []
    threads = [threading.Thread(target=lambda: versions.append(another_version(home))) for _ in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]

    assert sorted(versions) == [f"v{number}" for number in range(2, 8)]
    assert home.artifacts.versions() == [f"v{number}" for number in range(1, 8)]


@pytest.mark.parametrize("version", ["v9", "../v1", "v1/../v1", "", ".", "/etc", "v1\0"])
def test_a_version_that_is_not_listed_is_not_looked_for(home, version):  # I5
    with pytest.raises(ModelNotFound, match="there are: v1"):
        home.artifacts.load(version)


def test_a_half_written_version_is_no_version(home):
    (home.places.artifacts / ".writing-1-1").mkdir()
    (home.places.artifacts / ".writing-1-1" / "model.pkl").write_bytes(b"half")
    (home.places.artifacts / "v7").mkdir()

    assert home.artifacts.versions() == ["v1"]
    assert another_version(home) == "v8"  # the number is taken


@pytest.mark.parametrize("lost", ["v1", "v1/model.pkl", "champion.json"])
def test_a_lost_champion_is_trained_again(home, lost):
    assert training.is_current(home.project, home.preparation, home.artifacts)
    path = home.places.artifacts / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()

    assert not training.is_current(home.project, home.preparation, home.artifacts)
    home.train()

    assert training.is_current(home.project, home.preparation, home.artifacts)


def test_a_broken_pointer_is_named_and_its_remedy_works(home):
    home.artifacts.pointer_path.write_text(json.dumps({"version": "v1"}))

    with pytest.raises(CorruptArtifact, match=r"champion\.json.*promote a version again"):
        home.artifacts.load_champion()
    home.artifacts.promote("v1", replacing=home.artifacts.champion_version(), reason="", actor="")

    assert home.artifacts.load_champion().version == "v1"


def test_the_model_card_says_what_the_model_is(home):
    card = home.artifacts.model_card("v1")

    assert "Predicts `diagnosis` (benign, malignant) from 30 columns" in card
    assert "| held-out test rows | balanced_accuracy | 0.9" in card
