import pytest
from pydantic import BaseModel

from boucle.config import load_project
from boucle.errors import InvalidProject
from tests.support import PROJECT, ROOT


def test_the_committed_project_is_valid():
    project = load_project(ROOT / "project.toml")

    assert project.feedback.k == 50


def test_the_environment_overrides_a_value_for_one_run(tmp_path, monkeypatch):
    (tmp_path / "project.toml").write_text(PROJECT)
    monkeypatch.setenv("BOUCLE__FEEDBACK__K", "20")

    project = load_project(tmp_path / "project.toml")

    assert project.feedback.k == 20
    assert project.training.folds == 3


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("k = 50", "k = -1", "feedback.k = -1: Input should be greater than or equal to 0"),
        ("k = 50", 'k = "often"', "feedback.k = 'often'"),
        ("k = 50", "kk = 50", "feedback.kk = 50: there is no such key"),
        ("[feedback]", "[feedbak]", "feedbak = {'k': 50}: there is no such key"),
        ('target = "diagnosis"', "", "data.target is missing"),
        (
            '"logistic_regression"',
            '"crystal_ball"',
            "training.candidates.0 = 'crystal_ball': Input should be 'logistic",
        ),
        ("[data]", "[data", "is not TOML"),
        (
            "[feedback]",
            '[triggers.schedule]\ncron = "61 2 * * *"\n[feedback]',
            "triggers.schedule.cron = '61 2 * * *': is no cron expression; five fields are allowed",
        ),
        ("[feedback]", '[triggers.schedule]\ncron = "0 0 31 2 *"\n[feedback]', "triggers.schedule.cron = '0 0 31 2 *'"),
        ("[feedback]", '[triggers.schedule]\ncron = "0 0 2 * * *"\n[feedback]', "is no cron expression"),
        (
            "folds = 3",
            'engine = "spark://x:1"',
            "training.engine = 'spark://x:1': is no engine; allowed are '' (this machine)",
        ),
        ("[feedback]", "[triggers.drift]\nwindow = 10\n[feedback]", "triggers.drift.window = 10: Input should be"),
        (
            "[feedback]",
            "[triggers.drift]\nsustained = 6\n[feedback]",
            "triggers.drift.sustained = 6: Input should be less than or equal to triggers.drift.windows = 5",
        ),
    ],
)
def test_a_wrong_value_is_one_line_with_key_value_and_what_is_allowed(tmp_path, old, new, said):
    (tmp_path / "project.toml").write_text(PROJECT.replace(old, new))

    with pytest.raises(InvalidProject) as refusal:
        load_project(tmp_path / "project.toml")

    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_misspelt_section_in_the_environment_is_refused(tmp_path, monkeypatch):
    (tmp_path / "project.toml").write_text(PROJECT)
    monkeypatch.setenv("BOUCLE__FEEDBAK__K", "20")

    with pytest.raises(InvalidProject, match="BOUCLE__FEEDBAK__K: no such section"):
        load_project(tmp_path / "project.toml")


def test_every_key_is_explained_in_the_documentation():
    page = (ROOT / "docs" / "project-toml.md").read_text()
    project = load_project(ROOT / "project.toml")

    def keys_of(section, path):
        for key in type(section).model_fields:
            value = getattr(section, key)
            yield from keys_of(value, f"{path}{key}.") if isinstance(value, BaseModel) else [f"{path}{key}"]

    keys = list(keys_of(project, ""))

    assert "triggers.schedule.cron" in keys
    assert [key for key in keys if f"`{key}`" not in page] == []
