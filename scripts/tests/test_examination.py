import numpy as np
import pytest

from boucle import examination, models
from boucle.config import PromotionSection
from boucle.engine import Engine
from boucle.errors import NotEnoughData
from boucle.examination import Lesson
from boucle.models import Recipe, fit

RECIPES = [Recipe("logistic_regression", {}, 0), Recipe("logistic_regression", {}, 0, "window", memory=60)]


HERE = Engine()


def drifting(past=300, exam=200, turn=True, seed=0):
    """Rows whose classes swap places where the exam begins, if they ``turn``; and a champion fitted before."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(past + exam, 3))
    labels = (vectors[:, 0] > 0).astype(int)
    if turn:
        labels[past:] = 1 - labels[past:]
    champion = fit(RECIPES[0], vectors[:past], labels[:past], n_classes=2)
    return Lesson(vectors, labels, past, past, np.arange(1, exam + 1), vectors[past:], 2), champion


def hold(lesson, champion, recipes=RECIPES, engine=HERE, report=lambda *_: None):
    return examination.hold(lesson, champion, "v1", recipes, "accuracy", PromotionSection(), 1, engine, report)


def test_the_recipe_that_forgets_wins_after_a_sudden_turn():
    result = hold(*drifting())

    assert result.recipe.strategy == "window"
    assert result.decision.promote
    assert result.exam.challenger_score > result.exam.champion_score + 0.4


def test_without_a_change_nobody_is_promoted_over_an_equal_champion():
    lesson, champion = drifting(turn=False)

    assert not hold(lesson, champion).decision.promote


def test_each_fold_is_answered_by_a_model_that_saw_only_what_came_before_it(monkeypatch):
    seen = []
    real = models.fit

    def fit_and_remember(recipe, vectors, labels, n_classes):
        seen.append(len(labels))
        return real(recipe, vectors, labels, n_classes)

    monkeypatch.setattr(models, "fit", fit_and_remember)
    lesson, champion = drifting(past=100, exam=20)

    hold(lesson, champion, RECIPES[:1])

    assert seen == [100, 104, 108, 112, 116]


def test_the_exam_says_which_rows_each_fold_held_and_how_every_recipe_did():
    exam = hold(*drifting(exam=100)).exam

    assert [(fold.first_row, fold.last_row) for fold in exam.folds] == [
        (1, 20),
        (21, 40),
        (41, 60),
        (61, 80),
        (81, 100),
    ]
    assert [one.name for one in exam.challengers] == ["logistic regression, scratch", "logistic regression, window 60"]
    assert all(len(one.validation) == len(one.training) == 5 for one in exam.challengers)
    assert exam.lower < exam.difference < exam.upper


def test_the_lucky_one_of_many_equal_recipes_is_not_flattered():
    """The challenger's score is that of choosing beforehand, not the best score of all."""
    random = np.random.default_rng(0)
    vectors, labels = random.normal(size=(400, 3)), random.integers(0, 2, 400)  # nothing to learn
    champion = fit(RECIPES[0], vectors[:300], labels[:300], n_classes=2)
    lesson = Lesson(vectors, labels, 300, 300, np.arange(1, 101), vectors[300:], 2)
    recipes = [Recipe("sgd", {}, seed, "window", memory=20 + seed) for seed in range(30)]

    exam = hold(lesson, champion, recipes).exam

    best = max(one.score for one in exam.challengers)
    assert best > 0.55
    assert exam.challenger_score < best


def test_a_recipe_that_cannot_be_fitted_yet_is_the_champion_until_it_can():
    lesson, champion = drifting(past=300, exam=100)
    tuned = Recipe("logistic_regression", {}, 0, "fine_tune")

    exam = hold(lesson, champion, [tuned]).exam

    assert exam.challengers[0].training[0] is None
    assert exam.folds[0].champion == exam.folds[0].challenger
    assert exam.folds[-1].challenger > exam.folds[-1].champion


@pytest.mark.parametrize("rows", [1, 3, 9])
def test_a_handful_of_rows_is_no_exam_and_costs_no_fit(rows, monkeypatch):
    lesson, champion = drifting(exam=rows)
    monkeypatch.delattr(models, "fit")

    with pytest.raises(NotEnoughData, match=f"{rows} exam rows are too few"):
        hold(lesson, champion)


@pytest.mark.parametrize("most_rows", [40, 100])
def test_fine_tuning_is_examined_on_what_it_would_learn_whatever_part_of_it_is_the_exam(most_rows, monkeypatch):
    lesson, champion = drifting(past=300, exam=100)
    learnt, real = [], models.fine_tune

    def fine_tune_and_remember(model, recipe, vectors, labels):
        learnt.append(vectors)
        return real(model, recipe, vectors, labels)

    monkeypatch.setattr(models, "fine_tune", fine_tune_and_remember)
    tuned = Recipe("logistic_regression", {}, 0, "fine_tune")

    hold(lesson.newest(most_rows), champion, [tuned])
    examination.learn(tuned, champion, lesson)

    *examined, published = learnt
    assert np.array_equal(published, lesson.vectors[300:])
    for position, vectors in enumerate(examined):
        assert np.array_equal(vectors, published[: 100 - most_rows + position * most_rows // 5])


def test_progress_is_reported_up_to_the_last_fit():
    reports = []

    hold(*drifting(exam=50), report=lambda text, share: reports.append((text, share)))

    assert len(reports) == 10
    assert reports[0] == ("exam: logistic regression, scratch", 0.1)
    assert reports[-1][1] == 1.0


def test_the_newest_rows_of_a_long_exam_are_enough_and_the_others_are_learnt_from():
    lesson, _ = drifting(past=50, exam=100)

    newest = lesson.newest(30)

    assert (newest.start, len(newest.labels), newest.rows[0], len(newest.champion_vectors)) == (120, 150, 71, 30)
    assert newest.vectors is lesson.vectors
