import csv
import json
import subprocess
import sys

import numpy as np
import pytest

from boucle.backtest import contest, plot, report, session, streaming, yardsticks
from boucle.backtest.stream import Stream, batches, read, usual_size
from boucle.backtest.terms import Terms, project_for, shuffled
from boucle.backtest.trial import Verdict, replay
from boucle.config import load_project
from boucle.contract import Classes, Quantity
from boucle.errors import InvalidProject, InvalidSource, NotEnoughData
from tests.support import ROOT

PROJECT = """
[project]
name = "Drifting"

[data]
source = "elsewhere.csv"
target = "something"
drop = ["of another table"]

[embedding]
components = 3

[training]
candidates = ["logistic_regression"]
folds = 2
"""


def silent(*_):
    return None


@pytest.fixture
def drifting(tmp_path):
    """600 rows whose concept turns round soon after the replay began: what meant yes means no."""
    random = np.random.default_rng(0)
    numbers, words = random.normal(size=(600, 2)), random.choice(["red", "green"], 600)
    turned = np.arange(600) >= 200
    yes = (numbers[:, 0] > 0) ^ turned
    path = tmp_path / "drifting.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["x", "y", "word", "noise", "answer"])
        for (x, y), word, label in zip(numbers, words, yes, strict=True):
            writer.writerow([x, y, word, len(word), "yes" if label else "no"])
    return path


@pytest.fixture
def project(tmp_path, drifting):
    path = tmp_path / "project.toml"
    path.write_text(PROJECT)
    return project_for(Terms(data=str(drifting), target="answer", drop=("noise",)), load_project(path))


BINARY = Classes(name="y", classes=("no", "yes"))
QUANTITY = Quantity(name="y", integer=False, minimum=0.0, maximum=100.0, median=10.0)


def stream_of(labels, target=BINARY, reference=4):
    return Stream([{"x": float(number)} for number in range(len(labels))], np.array(labels), target, reference)


def answers_of(begin, stream, size):
    answers = replay(begin, batches(stream, size), silent).answers
    return (answers if stream.is_regression else answers.argmax(axis=1)).tolist()


@pytest.mark.parametrize(("size", "phase"), [(10, 0), (10, 0.5), (7, 0.25), (1000, 0), (1000, 0.75)])
def test_every_row_behind_the_reference_is_in_exactly_one_batch(size, phase):
    stream = stream_of([0, 1] * 20, reference=8)

    cut = batches(stream, size, phase)

    assert [row for rows in cut for row in range(rows.start, rows.stop)] == list(range(8, 40))
    assert all(0 < rows.stop - rows.start <= size for rows in cut)


def test_a_phase_shifts_the_boundaries_of_the_batches():
    stream = stream_of([0, 1] * 20, reference=10)

    assert [rows.stop for rows in batches(stream, 10, 0.5)] == [15, 25, 35, 40]


def test_the_usual_batches_are_round_and_about_thirty():
    assert usual_size(stream_of([0, 1] * 20_000, reference=8_000)) == 1_000
    assert usual_size(stream_of([0, 1] * 30, reference=10)) == 2


def test_a_batch_is_predicted_before_any_of_its_labels_is_learnt():
    pages = []

    class Diary:
        learnt = 4

        def predict(self, rows):
            pages.append(("predict", rows.start, rows.stop))
            return np.zeros((rows.stop - rows.start, 2))

        def learn(self, rows):
            pages.append(("learn", rows.start, rows.stop))
            return Verdict(rows.stop, "promoted" if rows.stop == 6 else "rejected", None, None, None)

    stream = stream_of([0, 1, 0, 1, 1, 1, 1, 1])

    trial = replay(Diary, batches(stream, 2), silent)

    assert pages == [("predict", 4, 6), ("learn", 4, 6), ("predict", 6, 8)]
    assert [verdict.row for verdict in trial.promotions] == [6]


def test_yardsticks_of_a_classification_know_labels_only_when_their_names_say_so():
    stream = stream_of([0, 0, 1, 0, 1, 1, 1, 1, 1])
    begin = yardsticks.learners(stream, "balanced_accuracy")

    assert answers_of(begin["majority class so far"], stream, 2) == [0, 0, 0, 0, 1]
    assert answers_of(begin["last label before the batch"], stream, 2) == [0, 0, 1, 1, 1]
    assert answers_of(begin["previous row's label, at once"], stream, 2) == [0, 1, 1, 1, 1]


def test_the_value_so_far_is_the_median_for_an_absolute_error_and_else_the_mean():
    stream = stream_of([1.0, 1.0, 1.0, 5.0, 5.0, 5.0, 5.0], target=QUANTITY)

    assert answers_of(yardsticks.learners(stream, "mae")["median so far"], stream, 2) == [1, 1, 3]
    assert answers_of(yardsticks.learners(stream, "r2")["mean so far"], stream, 2) == [2, 2, 3]


@pytest.mark.parametrize("classes", [("no", "yes"), ("low", "middle", "high")])
def test_river_learners_follow_a_turned_concept(classes):
    random = np.random.default_rng(1)
    x = random.normal(size=1200)
    labels = np.digitize(x, np.linspace(-0.5, 0.5, len(classes) - 1) if len(classes) > 2 else [0.0])
    labels[600:] = len(classes) - 1 - labels[600:]
    words = ["high" if value > 0 else None for value in x]
    records = [{"x": float(value) if value < 2 else None, "word": word} for value, word in zip(x, words, strict=True)]
    stream = Stream(records, labels, Classes(name="y", classes=classes), 300)

    for name, begin in streaming.learners(stream, 0).items():
        trial = replay(begin, batches(stream, 100), silent)

        right = trial.answers.argmax(axis=1) == stream.test_labels
        assert right[:300].mean() > 0.8, name
        assert right[300:400].mean() < 0.5, f"{name} knew of the turn before its labels"
        assert right[-100:].mean() > 0.6, name
        assert trial.learnt == 1100, name


def test_river_learners_of_a_regression_give_values():
    x = np.random.default_rng(2).normal(size=500)
    records = [{"x": float(value), "word": "high" if value > 0 else "low"} for value in x]
    stream = Stream(records, 10 + 3 * x, QUANTITY, 300)

    for name, begin in streaming.learners(stream, 0).items():
        answers = replay(begin, batches(stream, 100), silent).answers

        assert answers.shape == (200,)
        assert np.abs(answers - stream.test_labels).mean() < 1.5, name


def test_a_learner_begins_every_phase_anew(project, tmp_path):
    stream = read(project, tmp_path)
    name, begin = next(iter(streaming.learners(stream, 0).items()))

    first, second = (replay(begin, batches(stream, 100), silent) for _ in range(2))

    assert "river" in name
    assert (first.answers == second.answers).all()


def test_after_the_concept_turned_the_loop_promotes_and_leaves_the_frozen_model_behind(project, tmp_path):
    kinds = contest.chosen(["loop", "frozen", "recipes", "yardsticks"], [])

    results = {one.name: one for one in session.hold(project, kinds, 60, 1, tmp_path / "out", silent)}

    loop, frozen = results["the loop"], results["frozen"]
    assert loop.promotions >= 1
    assert loop.by_batch(loop.trials[0])[0] == frozen.by_batch(frozen.trials[0])[0], "the same champion answered"
    assert loop.by_batch(loop.trials[0])[-1] > 0.8
    assert loop.score > frozen.score + 0.1
    assert (frozen.trials[0].learnt, loop.trials[0].learnt) == (120, 540)
    assert results["frozen, rows shuffled (no drift)"].stream.records != loop.stream.records
    assert results["logistic regression, scratch"].trials[0].learnt == 540


def test_the_results_are_a_picture_a_table_scores_by_batch_and_everything_as_json(project, tmp_path):
    stream = read(project, tmp_path)
    said = []

    results = session.hold(project, {"yardsticks"}, 60, 2, tmp_path / "out", said.append)

    assert (tmp_path / "out" / "backtest.png").read_bytes().startswith(b"\x89PNG")
    lines = list(csv.DictReader((tmp_path / "out" / "scores.csv").open()))
    assert [int(line["last_row"]) for line in lines] == [*range(180, 601, 60), *range(150, 600, 60), 600]
    content = json.loads((tmp_path / "out" / "backtest.json").read_text())
    assert content["libraries"]["river"].startswith("0.")
    assert content["data"]["reference"] == stream.reference == 120
    assert [one["name"] for one in content["learners"]] == [one.name for one in contest.ranked(results)]
    assert float(lines[0]["majority class so far"]) == 0.5
    assert "majority class so far" in said[-1]


def test_the_figures_are_means_over_the_phases(project, tmp_path):
    stream = read(project, tmp_path)
    begin = yardsticks.learners(stream, "accuracy")["last label before the batch"]
    entry = contest.Entry("last", "yardsticks", stream, begin)

    result = contest.run(entry, "accuracy", 7, 3, lambda _: silent)

    assert len({result.overall(trial) for trial in result.trials}) > 1
    assert result.score == pytest.approx(np.mean([result.overall(trial) for trial in result.trials]))


def test_errors_are_ranked_from_the_smallest_and_drawn():
    stream = stream_of([1.0, 1.0, 1.0, 5.0, 5.0, 5.0, 5.0], target=QUANTITY)
    results = [
        contest.run(contest.Entry(name, "yardsticks", stream, begin), "mae", 2, 1, lambda _: silent)
        for name, begin in yardsticks.learners(stream, "mae").items()
    ]

    assert contest.ranked(results)[0].name == "last label before the batch"
    assert "mae on 3 rows in batches of 2, best first" in report.table(results)
    assert plot.draw(results, "three rows").startswith(b"\x89PNG")


def test_shuffled_rows_are_the_same_rows_in_another_order_always_the_same(project, tmp_path):
    stream, once, twice = (read(one, tmp_path) for one in (project, shuffled(project), shuffled(project)))

    assert once.records == twice.records != stream.records
    labels = {record["x"]: label for record, label in zip(stream.records, stream.labels, strict=True)}
    assert {record["x"]: label for record, label in zip(once.records, once.labels, strict=True)} == labels


def test_rows_that_a_query_chose_can_be_shuffled_too(project, tmp_path):
    chosen = project_for(Terms(query="SELECT * FROM source WHERE x > 0 ORDER BY x;"), project)

    once = read(shuffled(chosen), tmp_path)

    assert len(once) == len(read(chosen, tmp_path)) < 600
    values = [record["x"] for record in once.records]
    assert values != sorted(values)


def test_a_given_target_says_that_the_file_is_another_table(project, tmp_path):
    user = load_project(tmp_path / "project.toml")

    same = project_for(Terms(metric="accuracy", candidates=("sgd",), reference=0.5), user)

    assert (project.data.drop, project.data.target) == (("noise",), "answer")
    assert (same.data.drop, same.data.target, same.data.source) == (user.data.drop, "something", "elsewhere.csv")
    assert (same.training.metric, same.training.candidates) == ("accuracy", ("sgd",))
    assert (same.data.test_share, same.data.split) == (0.5, "time")


@pytest.mark.parametrize(
    ("terms", "named"),
    [
        (Terms(metric="beauty"), "--metric beauty"),
        (Terms(candidates=("oracle",)), "--candidates oracle"),
        (Terms(reference=1.0), "--reference 1"),
    ],
)
def test_an_option_that_cannot_be_is_named(tmp_path, terms, named):
    path = tmp_path / "project.toml"
    path.write_text(PROJECT)

    with pytest.raises(InvalidProject, match=named):
        project_for(terms, load_project(path))


def test_a_kind_of_learner_that_is_not_known_is_named():
    assert contest.chosen(["loop", "river"], ["river"]) == {"loop"}
    with pytest.raises(InvalidProject, match="oracles"):
        contest.chosen(["oracles"], [])
    with pytest.raises(InvalidProject, match="nothing is left"):
        contest.chosen(["loop"], ["loop"])


def test_a_file_of_too_few_rows_is_refused(tmp_path, project):
    (tmp_path / "drifting.csv").write_text("x,noise,answer\n1,1,yes\n2,1,no\n")

    with pytest.raises(NotEnoughData, match="2 rows are too few"):
        read(project, tmp_path)


def test_a_file_without_a_header_is_refused_by_naming_what_is_missing(tmp_path, project, drifting):
    drifting.write_text("".join(drifting.read_text().splitlines(keepends=True)[1:]))

    with pytest.raises(InvalidSource, match="no column answer"):
        read(project, tmp_path)


def test_the_command_says_in_one_line_what_is_wrong_with_a_file(tmp_path, drifting):
    (tmp_path / "project.toml").write_text(PROJECT)
    code = "import sys; from boucle.cli import main; sys.argv = ['boucle', *sys.argv[1:]]; main()"

    ended = subprocess.run(
        [sys.executable, "-c", code, "backtest", str(drifting), "--target", "wisdom", "--out", str(tmp_path / "out")],
        env={"PYTHONPATH": f"{ROOT}/scripts", "BOUCLE_PROJECT": str(tmp_path / "project.toml")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 1
    assert ended.stderr.splitlines() == ["no column wisdom in the source; its columns are x, y, word, noise, answer"]
    assert not (tmp_path / "out").exists()
