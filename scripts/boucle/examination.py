"""Every feedback batch is first an exam: challengers and champion answer the same rows, which none of them has seen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from boucle import evaluation, models, promotion
from boucle.arrays import FloatArray, IndexArray, Labels
from boucle.config import PromotionSection
from boucle.engine import Engine, Task
from boucle.errors import NotEnoughData
from boucle.exam import Challenger, Exam, Fold, defined
from boucle.models import Model, Recipe
from boucle.promotion import Decision

FOLDS = 5
TRAINING_ROWS_SCORED = 2_000

Report = Callable[[str, float], None]


@dataclass(frozen=True)
class Lesson:
    """Rows in time order: what the champion has learnt, then what it has not; of these the last are the exam.

    ``vectors`` (n_rows, n_components) and ``labels`` (n_rows,) hold them all; what is new to the champion begins at
    ``unseen``, the exam at ``start``. ``rows`` are the exam rows' feedback numbers, ``champion_vectors`` the exam rows
    in the champion's own embedding.
    """

    vectors: FloatArray
    labels: Labels
    unseen: int
    start: int
    rows: IndexArray
    champion_vectors: FloatArray
    n_classes: int | None

    @property
    def exam_labels(self) -> Labels:
        return self.labels[self.start :]

    def newest(self, most_rows: int) -> "Lesson":
        """The same with the newest ``most_rows`` exam rows only; those before them are learnt from, unexamined."""
        extra = max(0, len(self.rows) - most_rows)
        return replace(
            self,
            start=self.start + extra,
            rows=self.rows[extra:],
            champion_vectors=self.champion_vectors[extra:],
        )


@dataclass(frozen=True)
class Result:
    """The exam, the recipe that led when it ended, and what becomes of it."""

    exam: Exam
    recipe: Recipe
    decision: Decision


@dataclass(frozen=True)
class _Sheet:
    """One recipe's answers to the exam rows (n_exam, width), with its scores per fold."""

    recipe: Recipe
    outputs: FloatArray
    validation: tuple[float, ...]
    training: tuple[float | None, ...]


def hold(
    lesson: Lesson,
    champion: Model,
    version: str,
    recipes: Sequence[Recipe],
    metric: str,
    rule: PromotionSection,
    look: int,
    engine: Engine,
    report: Report,
) -> Result:
    """Judge the recipes by forward chaining, then their leader against the champion.

    The exam rows are cut into contiguous folds, and each is answered by models fitted only on what came before it
    (Dawid, 1984, the prequential approach, JRSS A 147(2)). Which recipe leads is chosen the same way: on a fold the
    challenger answers with the recipe that led on the folds before. So the choice among many recipes is part of what is
    examined, and does not flatter the one that was lucky. The first recipe leads first, and hands over to another that
    is better by more than a standard error (Breiman et al., 1984).

    Raises:
        NotEnoughData: when nothing can be compared on these rows.
    """
    labels = lesson.exam_labels
    evaluation.check_comparable(metric, labels)  # now, and not behind fits that nobody could compare
    answers = champion.outputs(lesson.champion_vectors)
    bounds = np.unique(np.linspace(0, len(labels), min(FOLDS, len(labels)) + 1).astype(int))
    folds = list(pairwise(bounds.tolist()))
    sheets = _sheets(lesson, champion, answers, recipes, folds, metric, engine, report)
    *leaders, winner = _leaders(sheets, metric, labels, bounds.tolist())
    followed = np.concatenate([leader.outputs[begin:end] for leader, (begin, end) in zip(leaders, folds, strict=True)])
    comparison = evaluation.compare(metric, labels, answers, followed)
    decision = promotion.decide(comparison, rule, look)
    exam = Exam(
        metric=metric,
        rows=len(labels),
        look=look,
        champion=version,
        champion_score=defined(comparison.champion),
        challenger=winner.recipe.name,
        challenger_score=defined(comparison.challenger),
        difference=defined(comparison.difference),
        lower=decision.lower,
        upper=decision.upper,
        margin=rule.margin,
        tolerance=rule.tolerance,
        strict=rule.strict,
        folds=tuple(
            Fold(
                first_row=int(lesson.rows[begin]),
                last_row=int(lesson.rows[end - 1]),
                champion=defined(evaluation.score(metric, labels[begin:end], answers[begin:end])),
                challenger=defined(evaluation.score(metric, labels[begin:end], followed[begin:end])),
            )
            for begin, end in folds
        ),
        challengers=tuple(_challenger(sheet, metric, labels) for sheet in sheets),
    )
    return Result(exam, winner.recipe, decision)


def learn(recipe: Recipe, champion: Model, lesson: Lesson) -> Model:
    """The recipe's model after the whole lesson.

    Raises:
        NotEnoughData: when it cannot be fitted on them.
    """
    if recipe.strategy == "fine_tune":
        return models.fine_tune(champion, recipe, lesson.vectors[lesson.unseen :], lesson.labels[lesson.unseen :])
    return models.fit(recipe, lesson.vectors, lesson.labels, lesson.n_classes)


def _sheets(
    lesson: Lesson,
    champion: Model,
    answers: FloatArray,
    recipes: Sequence[Recipe],
    folds: Sequence[tuple[int, int]],
    metric: str,
    engine: Engine,
    report: Report,
) -> list[_Sheet]:
    # One at a time: each holds a copy of its rows.
    tasks = (_task(recipe, champion, lesson, begin, end, metric) for recipe in recipes for begin, end in folds)
    done = []
    for number, result in enumerate(engine.results(tasks), 1):
        report(f"exam: {recipes[(number - 1) // len(folds)].name}", number / (len(recipes) * len(folds)))
        done.append(result)
    sheets = []
    for position, recipe in enumerate(recipes):
        parts = done[position * len(folds) : (position + 1) * len(folds)]
        # A recipe that cannot be fitted yet is the champion until it can.
        outputs = [
            answers[begin:end] if part is None else part[0] for part, (begin, end) in zip(parts, folds, strict=True)
        ]
        validation = [
            evaluation.score(metric, lesson.exam_labels[begin:end], fold)
            for fold, (begin, end) in zip(outputs, folds, strict=True)
        ]
        training = tuple(None if part is None else defined(part[1]) for part in parts)
        sheets.append(_Sheet(recipe, np.concatenate(outputs), tuple(validation), training))
    return sheets


def _task(recipe: Recipe, champion: Model, lesson: Lesson, begin: int, end: int, metric: str) -> Task:
    """What one fold costs, with just the rows that it needs: it may travel to another machine."""
    before, after = lesson.start + begin, lesson.start + end
    first = lesson.unseen if recipe.strategy == "fine_tune" else 0
    # The fit will choose among them again, and choose them all: remembering twice is remembering once.
    kept = first + recipe.remembers(before - first)[0]
    arrays = (lesson.vectors[kept], lesson.labels[kept], lesson.vectors[before:after])
    tuned = champion if recipe.strategy == "fine_tune" else None
    return Task(_answer, (recipe, tuned, *arrays, lesson.n_classes, metric))


def _answer(
    recipe: Recipe,
    champion: Model | None,
    vectors: FloatArray,
    labels: Labels,
    asked: FloatArray,
    n_classes: int | None,
    metric: str,
) -> tuple[FloatArray, float] | None:
    try:
        if champion is not None:
            model = models.fine_tune(champion, recipe, vectors, labels)
        else:
            model = models.fit(recipe, vectors, labels, n_classes)
    except NotEnoughData:
        return None
    scored = slice(-TRAINING_ROWS_SCORED, None)
    return model.outputs(asked), evaluation.score(metric, labels[scored], model.outputs(vectors[scored]))


def _leaders(sheets: Sequence[_Sheet], metric: str, labels: Labels, bounds: Sequence[int]) -> list[_Sheet]:
    """Who led after the rows before each bound."""
    leaders = [sheets[0]]
    for end in bounds[1:]:
        leader = leaders[-1]
        rival = max(
            sheets,
            key=lambda sheet: evaluation.goodness(metric, evaluation.score(metric, labels[:end], sheet.outputs[:end])),
        )
        try:
            compared = evaluation.compare(metric, labels[:end], leader.outputs[:end], rival.outputs[:end])
        except NotEnoughData:
            leaders.append(leader)
        else:
            leaders.append(rival if compared.difference > compared.standard_error else leader)
    return leaders


def _challenger(sheet: _Sheet, metric: str, labels: Labels) -> Challenger:
    return Challenger(
        name=sheet.recipe.name,
        algorithm=sheet.recipe.algorithm,
        strategy=sheet.recipe.strategy,
        parameters=dict(sheet.recipe.parameters),
        score=defined(evaluation.score(metric, labels, sheet.outputs)),
        validation=tuple(defined(value) for value in sheet.validation),
        training=sheet.training,
    )
