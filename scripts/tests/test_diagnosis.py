"""What a diagnosis names: the columns that moved, the row since when, where quality was lost; and calm, if it is."""

import re
import shutil
from datetime import UTC, datetime

import numpy as np
import pytest
import requests
from scipy.stats import binomtest
from typer.testing import CliRunner

from boucle import drift
from boucle.cli import app
from boucle.contract import Category, Classes, Number, Quantity
from boucle.monitoring import diagnosis_page, evidence, segments
from boucle.monitoring.diagnose import diagnose
from boucle.monitoring.observer import Observer
from boucle.monitoring.onset import onset
from boucle.monitoring.windows import Row
from tests.support import Home, serving

CALM, SHIFTED = 120, 140
MOVED = ("mean radius", "worst texture")


def use(url, home, rows, moved=(), seed=0):
    """Reference rows over HTTP with their true values; the ``moved`` columns read too high."""
    prepared, random = home.preparation, np.random.default_rng(seed)
    ranges = {one.name: one.maximum - one.minimum for one in prepared.contract.features}
    session = requests.Session()
    for chosen in random.choice(len(prepared.labels), rows, replace=False):
        record = prepared.reference_records[chosen]
        changed = record | {name: record[name] + 0.4 * ranges[name] for name in moved}
        answer = session.post(f"{url}/predict", json=changed).json()
        label = prepared.contract.target.classes[int(prepared.labels[chosen])]
        body = {"prediction_id": answer["prediction_id"], "target": label}
        assert session.post(f"{url}/feedback", json=body).status_code == 201


def found(home):
    places = home.places
    return diagnose(evidence.gather(home.project, places.data, home.artifacts, home.store, datetime.now(UTC)))


def printed(home, monkeypatch, out):
    for name in ("project", "data", "artifacts"):
        monkeypatch.setenv(f"BOUCLE_{name.upper()}", str(getattr(home.places, name)))
    result = CliRunner().invoke(app, ["diagnose", "--out", str(out)])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def calm(shared_home):
    """A project that was used as usual."""
    shared_home.write(shared_home.places.project.read_text().replace("k = 50", "k = 0"))
    with serving(shared_home, workers=1) as url:
        use(url, shared_home, CALM)
    return shared_home


@pytest.fixture(scope="module")
def sick(calm, tmp_path_factory):
    """The same, and then two columns that began to read too high at row 121."""
    home = Home(tmp_path_factory.mktemp("sick") / "home")
    for part in ("data", "artifacts"):
        shutil.copytree(calm.folder / part, home.folder / part)
    home.write(calm.places.project.read_text())
    observer = Observer(home.project, home.places.data, home.artifacts, home.store)
    with serving(home, workers=1) as url:
        for seed in (1, 2):
            use(url, home, SHIFTED // 2, MOVED, seed)
            observer.look(datetime.now(UTC))
    return home


def test_a_calm_home_is_told_to_be_calm(calm, monkeypatch, tmp_path):
    output = printed(calm, monkeypatch, tmp_path)

    assert output.startswith("Nothing is wrong: the newest 120 labels and 120 predictions")
    (page,) = tmp_path.glob("*.html")
    assert "needs a look" not in page.read_text()
    assert str(page) in output.replace("\n", "")
    assert found(calm).advice[0] == "Nothing needs to be done."


def test_the_columns_that_moved_are_named_with_the_row_since_when(sick):
    diagnosis = found(sick)

    assert {one.drift.column for one in diagnosis.moved} == set(MOVED)
    for one in diagnosis.moved:
        assert abs(one.onset.row - (CALM + 1)) <= 3
        assert one.onset.position == one.onset.row - 1
    assert diagnosis.findings[0].text.startswith(("2 of 30 columns have moved since feedback row", "Balanced accuracy"))
    assert "moved together" in diagnosis.advice[0]


def test_the_observer_saw_them_from_its_first_look_on(sick):
    first = found(sick).evidence.history[0].created_at

    assert {one.observed_since for one in found(sick).moved} == {first}


def test_the_page_needs_nothing_else_and_the_terminal_has_three_lines_and_the_place(sick, monkeypatch, tmp_path):
    lines = printed(sick, monkeypatch, tmp_path).splitlines()

    (page,) = tmp_path.glob("*.html")
    content = page.read_text()
    assert len(lines) <= 4
    assert lines[-1].endswith(".html")
    assert "2 of 30 columns have moved" in "\n".join(lines)
    assert content.count("<svg") == 1 + len(MOVED)
    assert not re.findall(r"""(?:src|href)=["'](?!#)""", content)
    assert not re.findall(r"url\((?!#)|<script|@import", content)


def test_versions_and_training_runs_are_told(sick):
    sick.store.runs.request("manual", trigger_reason="somebody <asked>")

    diagnosis = found(sick)

    (version,) = diagnosis.versions
    assert (version.version, version.rows, version.first_row) == ("v1", CALM + SHIFTED, 1)
    assert version.held_out > 0.9
    assert diagnosis.evidence.runs[0].trigger_reason == "somebody <asked>"
    assert "somebody &lt;asked&gt;" in diagnosis_page.render(diagnosis)


def test_before_any_row_nothing_is_known(home):
    diagnosis = found(home)

    assert diagnosis.is_calm
    assert diagnosis.findings[0].text.startswith("Nothing is known to be wrong, of 0 predictions and 0 labels")
    assert "Too few predictions to tell." in diagnosis_page.render(diagnosis)


def far_from(known):
    return lambda values: drift.move(known, values, 0).drifted(0.25)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "change",
    [
        lambda random, rows: random.normal(0.8, 1, rows).tolist(),
        lambda random, rows: random.normal(0, 3, rows).tolist(),
        lambda random, rows: [None if gap else 0.0 for gap in random.random(rows) < 0.5],
    ],
)
def test_a_change_of_a_number_is_found_near_its_row(change, seed):
    random = np.random.default_rng(seed)
    known, usual = random.normal(0, 1, 1_000).tolist(), random.normal(0, 1, 170).tolist()

    assert abs(onset(known, [*usual, *change(random, 200)], far_from(known)) - 170) <= 20


def test_a_change_of_a_category_and_of_a_boolean_is_found():
    random = np.random.default_rng(0)
    known = random.choice(["a", "b", "c"], 1_000, p=[0.5, 0.3, 0.2]).tolist()
    later = random.choice(["a", "b", "c", "new"], 100, p=[0.1, 0.3, 0.2, 0.4]).tolist()

    assert abs(onset(known, [*known[:150], *later], far_from(known)) - 150) <= 8
    booleans = [True, False] * 300
    assert abs(onset(booleans, [*booleans[:100], *[True] * 100], far_from(booleans)) - 100) <= 2


def test_a_change_in_two_steps_is_dated_to_the_first():
    random = np.random.default_rng(0)
    known = random.normal(0, 1, 1_000).tolist()
    steps = [*random.normal(0, 1, 150), *random.normal(0.9, 1, 150), *random.normal(3, 1, 150)]

    assert abs(onset(known, steps, far_from(known)) - 150) <= 15


def test_what_is_older_than_the_rows_and_what_is_not_there_are_told_apart():
    random = np.random.default_rng(0)
    known = random.normal(0, 1, 1_000).tolist()

    assert onset(known, random.normal(2, 1, 300).tolist(), far_from(known)) == 0
    assert onset(known, random.normal(0, 1, 300).tolist(), far_from(known)) is None
    assert onset(known, [], far_from(known)) is None
    assert onset([1.0] * 100, [1.0] * 100, far_from([1.0] * 100)) is None


CLASSES = Classes(name="kind", classes=("a", "b"))
FEATURES = (
    Number(name="size", nullable=True, integer=False, minimum=0, maximum=1, median=0.5),
    Category(name="color", nullable=True, categories=("blue", "red")),
)


def answered(random, rows, wrong):
    """Rows whose answers are wrong as often as ``wrong`` says of a datum."""
    records = [
        {"size": None if random.random() < 0.1 else random.random(), "color": str(random.choice(["blue", "red"]))}
        for _ in range(rows)
    ]
    return [Row(record, "a", "b" if random.random() < wrong(record) else "a") for record in records]


def test_the_segment_that_lost_is_found_and_its_numbers_can_be_counted_again():
    random = np.random.default_rng(0)
    before = answered(random, 400, lambda _: 0.05)
    now = answered(random, 400, lambda one: 0.6 if one["color"] == "red" else 0.05)

    worst, *others = segments.compare(CLASSES, FEATURES, before, before, now)

    red = [row for row in now if row.input["color"] == "red"]
    assert (worst.column, worst.title, worst.is_sure) == ("color", "red", True)
    assert worst.now.rows == len(red)
    assert worst.now.value == np.mean([row.prediction == row.target for row in red])
    right = sum(row.prediction == row.target for row in red)
    wilson = binomtest(right, len(red)).proportion_ci(method="wilson")
    assert (worst.now.lower, worst.now.upper) == pytest.approx((wilson.low, wilson.high))
    assert {one.title for one in others if one.column == "size"} >= {"missing"}
    assert sum(one.now.rows for one in others if one.column == "size") == 400


def test_segments_with_few_rows_are_left_out():
    random = np.random.default_rng(0)
    rows = answered(random, 30, lambda _: 0.1)

    assert {one.column for one in segments.compare(CLASSES, FEATURES, rows, rows, rows)} <= {"color"}
    assert segments.compare(CLASSES, FEATURES, rows, [], rows) == []


def test_where_nothing_was_lost_a_sure_loss_is_rare():
    random = np.random.default_rng(0)
    known = answered(random, 300, lambda _: 0.1)
    tables = [
        segments.compare(CLASSES, FEATURES, known, *(answered(random, 200, lambda _: 0.1) for _ in range(2)))
        for _ in range(60)
    ]

    assert sum(any(one.is_sure for one in table) for table in tables) <= 6


def test_of_a_quantity_the_error_is_compared():
    random = np.random.default_rng(0)
    target = Quantity(name="price", integer=False, minimum=0, maximum=9, median=4)

    def rows(high):
        made = []
        for _ in range(300):
            size = random.random()
            error = abs(random.normal(0, high if size > 0.75 else 1))
            made.append(Row({"size": size, "color": "red"}, 5.0 + error, 5.0))
        return made

    before = rows(1)
    worst = segments.compare(target, FEATURES, before, before, rows(4))[0]

    assert worst.column == "size"
    assert worst.title.startswith("above 0.7")
    assert worst.is_sure
    assert worst.now.value > 2 * worst.before.value
