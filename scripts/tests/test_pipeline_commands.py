"""The commands that the pipelines call beside `train`; each may be called again at any time."""

import numpy as np
import pytest
from typer.testing import CliRunner

from boucle.cli import app
from boucle.contract import Boolean, Category, Classes, Contract, Number, Quantity, broken
from boucle.demo import draw
from boucle.errors import ContractBroken, TrainingFailed
from boucle.store import Feedback
from tests.support import Home, new_id

AGE = Number(name="age", nullable=False, integer=True, minimum=18, maximum=90, median=40)
PLAN = Category(name="plan", nullable=True, categories=("basic", "plus"))
CHURN = Classes(name="churn", classes=("no", "yes"))


def contract(*features, target=CHURN):
    return Contract(features=features, target=target, example={})


def boucle(home, *arguments, **environment):
    result = CliRunner().invoke(app, arguments, env=home.environment(**environment), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return [line.removeprefix(f"{arguments[0]:8} ") for line in result.output.splitlines()]


def give(home, rows, shift=0.0):
    """Feedback as the API stores it: the true value beside the champion's prediction."""
    champion, store = home.artifacts.load_champion(), home.store
    store.feedback.use(champion.embedding)
    records, labels = draw(home.preparation, rows, shift, np.random.default_rng(rows))
    vectors = champion.embedding.vectors(records)
    items = [
        Feedback(new_id(), record, vector, label, champion.predict(record), champion.version)
        for record, vector, label in zip(records, vectors, labels, strict=True)
    ]
    store.feedback.add(items, champion.embedding.id)


def test_another_range_a_new_category_and_a_new_column_break_no_contract():
    older = AGE.model_copy(update={"maximum": 120})
    more = PLAN.model_copy(update={"categories": ("basic", "plus", "pro")})

    assert broken(contract(AGE, PLAN), contract(more, Boolean(name="vip", nullable=True), older)) == []


def test_what_clients_could_no_longer_send_is_said_column_by_column():
    found = contract(
        Category(name="age", nullable=False, categories=("old", "young")),
        PLAN.model_copy(update={"nullable": False}),
        target=Quantity(name="churn", integer=False, minimum=0, maximum=1, median=0.5),
    )

    assert broken(contract(AGE, PLAN, Boolean(name="vip", nullable=False)), found) == [
        "age was a number, and is a category",
        "plan may no longer be missing",
        "vip is gone",
        "the target was churn, classes, and is churn, a quantity",
    ]


def test_the_contract_holds_for_what_was_prepared_as_the_champion_was(home):
    assert boucle(home, "contract") == ["30 columns, all that v1 promised"]


def test_prepared_data_without_a_column_stop_with_one_message(home):
    project = home.places.project.read_text()
    home.write(project.replace('target = "diagnosis"', 'target = "diagnosis"\ndrop = ["mean radius"]'))
    boucle(home, "prepare", "--if-changed")

    with pytest.raises(ContractBroken, match=r"v1 promised: mean radius is gone\. If that is meant: make train"):
        boucle(home, "contract")


def test_before_the_first_champion_no_step_of_a_pipeline_fails(tmp_path, trained):
    empty = Home(tmp_path).write(trained.places.project.read_text())

    assert boucle(empty, "prepare", "--if-changed")[-1].endswith("rows held out")
    assert boucle(empty, "prepare", "--if-changed") == ["nothing changed"]
    assert boucle(empty, "contract") == ["30 columns; there is no champion yet that promised any"]
    assert boucle(empty, "drift") == ["there is no champion yet to compare with"]


def test_drift_tells_what_moved_and_leaves_the_rows_for_the_reports(home):
    give(home, 120, shift=3.0)

    lines = boucle(home, "drift")

    assert lines[0] == "120 newest predictions, 120 newest labels, beside what v1 knows"
    assert lines[1].startswith("the data have drifted: ")
    assert (home.places.data / "monitoring" / "observation.json").is_file()


def test_a_retraining_waits_for_k_new_rows_and_is_not_repeated_on_the_same_ones(home, tmp_path):
    give(home, 49)
    waits = boucle(home, "retrain", "--if-due")
    give(home, 71)
    ran = boucle(home, "retrain", "--if-due", "--plots", str(tmp_path / "plots"))
    again = boucle(home, "retrain", "--if-due")

    assert waits == ["nothing to do: 49 rows are new to the champion, of 50 that make a lesson"]
    assert ran[-1].startswith("run ")
    assert {path.name for path in (tmp_path / "plots" / "exam").iterdir()} >= {"comparison.png", "folds.png"}
    assert again == ["nothing to do: 0 rows are new to the champion, of 50 that make a lesson"]


def test_k_and_strategy_of_one_run_come_from_the_environment(home):
    give(home, 40)

    boucle(home, "retrain", "--if-due", BOUCLE__FEEDBACK__K="40", BOUCLE__TRAINING__STRATEGIES='["scratch"]')

    strategies = {challenger.strategy for challenger in home.store.runs.newest(1)[0].exam.challengers}
    assert strategies == {"scratch"}


def test_a_run_that_fails_fails_the_command(home):
    give(home, 60)
    (home.places.data / "ref_data.csv").unlink()

    with pytest.raises(TrainingFailed, match=r"run \d+ failed: .*run make prepare"):
        boucle(home, "retrain")
