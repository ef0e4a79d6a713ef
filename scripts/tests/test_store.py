import json
import threading
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from boucle.errors import EmbeddingChanged, FeedbackConflict, LeaseLost
from boucle.store import Feedback, Labelled
from boucle.store.database import FEEDBACK, connect
from tests.support import PROJECT, on_each_database, rows_of

pytestmark = on_each_database


def feedback(home, identifier, row=0, target="benign"):
    prepared = home.preparation
    embedding, record = prepared.embedding, prepared.test_records[row]
    return Feedback(identifier, record, embedding.vectors([record])[0], target, "benign", "v1")


@pytest.fixture
def table(home):
    home.store.feedback.use(home.preparation.embedding)
    return home.store.feedback


@pytest.fixture
def embedding_id(home):
    return home.preparation.id


def test_a_feedback_is_a_row_of_the_table_and_a_line_of_the_file(home, table, embedding_id):
    item = feedback(home, "a", target="malignant")

    receipt = table.add([item], embedding_id)[0]

    assert (receipt.row, receipt.retraining_requested, receipt.rows_to_next_retraining) == (1, False, 49)
    cells = rows_of(home)[0].split(",")
    assert np.array_equal(np.array(cells[:-2], dtype=float), item.vector)
    assert cells[-2:] == ["malignant", "benign"]


def test_every_character_and_every_bit_comes_back_as_it_was_given(home, table, embedding_id):
    texts = ['"', "\\", "\\u0041", "\\x41", "\x00", "\x1f", "ø", "😀", "a,b\nc", "'; --", "null", "{}", ""]
    vector = np.array([-0.0, 5e-324, 1.7976931348623157e308, 0.1 + 0.2, 1 / 3])
    items = [
        replace(feedback(home, f"{number} {text.replace(chr(0), '')}"), input={text: text}, target=text, vector=vector)
        for number, text in enumerate(texts)
    ]
    items[0] = replace(items[0], model_version=None, set_aside="no class yet")

    table.add(items, embedding_id)

    with home.store.feedback._database.reading() as connection:
        rows = connection.execute(sa.select(FEEDBACK).order_by(FEEDBACK.c.row)).all()
    assert [row.prediction_id for row in rows] == [item.prediction_id for item in items]
    assert [json.loads(row.input) for row in rows] == [item.input for item in items]
    assert [json.loads(row.target) for row in rows] == texts
    assert {row.vector for row in rows} == {vector.tobytes()}
    assert [(row.model_version, row.reason) for row in rows] == [(None, "no class yet"), *[("v1", None)] * 12]


def test_the_same_feedback_again_changes_nothing_and_gets_the_same_receipt(home, table, embedding_id):
    first = table.add([feedback(home, "a")], embedding_id)

    again = [table.add([feedback(home, "a")], embedding_id) for _ in range(50)]  # T2

    assert all(receipt == first for receipt in again)
    assert len(rows_of(home)) == table.rows() == 1


def test_the_same_feedback_with_another_target_is_a_conflict(home, table, embedding_id):
    first = table.add([feedback(home, "a")], embedding_id)

    for item in (feedback(home, "a", target="malignant"), feedback(home, "a", row=1)):
        assert isinstance(conflict := table.add([item], embedding_id)[0], FeedbackConflict)
        assert 'with target "benign"' in str(conflict)

    assert table.add([feedback(home, "a")], embedding_id) == first
    assert len(rows_of(home)) == 1


def test_in_a_batch_each_gets_what_it_would_get_alone(home, table, embedding_id):
    table.add([feedback(home, "a")], embedding_id)
    items = [
        feedback(home, "b", target="malignant"),
        feedback(home, "a", target="malignant"),
        feedback(home, "c", row=1),
        feedback(home, "b"),
        feedback(home, "c", row=1),
        feedback(home, "a"),
        feedback(home, "d"),
    ]

    outcomes = table.add(items, embedding_id)

    assert [isinstance(outcome, FeedbackConflict) for outcome in outcomes] == [False, True, False, True] + 3 * [False]
    assert [outcome.row for outcome in outcomes if not isinstance(outcome, FeedbackConflict)] == [2, 3, 3, 1, 4]
    assert outcomes[2] == outcomes[4]
    assert 'with target "malignant"' in str(outcomes[3])
    assert [line.split(",")[-2] for line in rows_of(home)] == ["benign", "malignant", "benign", "benign"]
    assert not table.repair_projection()


def test_a_feedback_from_before_the_inputs_were_written_densely_is_recognized(home, table, embedding_id):
    first = table.add([feedback(home, "a")], embedding_id)
    with connect(home.places.database).writing() as connection:
        written = json.dumps(feedback(home, "a").input)
        connection.execute(sa.update(FEEDBACK).values(input=written))

    assert table.add([feedback(home, "a")], embedding_id) == first


def test_more_at_once_than_one_statement_asks_for(home, table, embedding_id):
    one = feedback(home, "0")
    items = [replace(one, prediction_id=str(number)) for number in range(1_300)]

    first = table.add(items, embedding_id)

    assert [receipt.row for receipt in first] == list(range(1, 1_301))
    assert table.add(items, embedding_id) == first
    assert [receipt.row for receipt in first if receipt.retraining_requested] == list(range(50, 1_301, 50))
    assert table.add([], embedding_id) == []


def test_every_kth_row_requests_one_run_also_when_a_batch_jumps_over_it(home, table, embedding_id):  # T4
    receipts = table.add([feedback(home, str(number)) for number in range(120)], embedding_id)

    assert [receipt.row for receipt in receipts if receipt.retraining_requested] == [50, 100]
    assert len(home.store.runs.newest(10)) == 2
    assert table.add([feedback(home, "49")], embedding_id)[0] == receipts[49]


def test_threads_of_several_stores_lose_and_double_nothing(home, embedding_id):
    stores = [home.store for _ in range(3)]
    stores[0].feedback.use(home.preparation.embedding)
    item = feedback(home, "")

    def add(store, name):
        for number in range(40):
            named = Feedback(f"{name}-{number}", item.input, item.vector, "benign", "benign", "v1")
            store.feedback.add([named], embedding_id)

    threads = [threading.Thread(target=add, args=[store, f"{n}-{m}"]) for n, store in enumerate(stores) for m in "ab"]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]

    assert stores[0].feedback.rows() == len(rows_of(home)) == 240
    assert [run.trigger for run in stores[0].runs.newest(10)] == ["feedback"] * 4
    assert not stores[0].feedback.repair_projection()


@pytest.mark.parametrize("tail", [b"0.1,0.2", b"1,2,3,4,5,benign,benign\n" * 3])
def test_a_line_that_was_never_acknowledged_is_cut_off_by_the_next_one(home, table, embedding_id, tail):
    table.add([feedback(home, "a")], embedding_id)
    with home.prod_data.open("ab") as file:
        file.write(tail)

    table.add([feedback(home, "b", row=1)], embedding_id)

    assert len(rows_of(home)) == 2
    assert not table.repair_projection()


@pytest.mark.parametrize("damage", ["delete", "truncate", "edit"])
def test_a_file_that_differs_from_the_table_is_rebuilt(home, table, embedding_id, damage):
    table.add([feedback(home, str(number), row=number) for number in range(5)], embedding_id)
    expected = home.prod_data.read_bytes()
    if damage == "delete":
        home.prod_data.unlink()
    else:
        home.prod_data.write_bytes(
            expected[:-40] if damage == "truncate" else expected.replace(b"benign", b"Benign", 1)
        )

    assert table.repair_projection()

    assert home.prod_data.read_bytes() == expected
    assert not table.repair_projection()


def test_rows_of_a_release_without_checksums_get_theirs(home, table, embedding_id):
    table.add([feedback(home, str(number), row=number) for number in range(5)], embedding_id)
    expected = home.prod_data.read_bytes()
    with connect(home.places.database).writing() as connection:
        connection.execute(sa.update(FEEDBACK).values(checksum=0))

    assert table.repair_projection()

    assert home.prod_data.read_bytes() == expected
    table.add([feedback(home, "next")], embedding_id)
    assert not table.repair_projection()


@pytest.mark.parametrize("damage", ["delete", "truncate"])
def test_a_file_that_vanishes_under_way_is_rebuilt_by_the_next_feedback(home, table, embedding_id, damage):
    table.add([feedback(home, "a")], embedding_id)
    home.prod_data.unlink() if damage == "delete" else home.prod_data.write_bytes(b"PCA")

    table.add([feedback(home, "b")], embedding_id)

    assert not table.repair_projection()
    assert len(rows_of(home)) == 2


def test_a_new_embedding_rewrites_every_vector_and_its_line(home, table, embedding_id):
    table.add([feedback(home, str(number), row=number) for number in range(60)], embedding_id)
    home.write(PROJECT.replace("components = 5", "components = 3"))
    home.train()
    embedding = home.preparation.embedding

    table.use(embedding)

    assert home.prod_data.read_text().startswith("PCA_1,PCA_2,PCA_3,target,prediction\n")
    assert np.allclose(table.labelled(embedding).vectors, embedding.vectors(home.preparation.test_records[:60]))
    assert not table.repair_projection()
    with pytest.raises(EmbeddingChanged):
        table.add([feedback(home, "late")], embedding_id)


def test_rows_of_another_project_are_set_aside_and_come_back(home, table, embedding_id):
    table.add([feedback(home, str(number), row=number) for number in range(3)], embedding_id)
    before, mine = pd.read_csv(home.prod_data), home.preparation.embedding
    home.write(PROJECT.replace("[embedding]", 'drop = ["mean area"]\n[embedding]'))
    home.train()
    other = home.preparation.embedding

    table.use(other)
    assert rows_of(home) == []
    assert len(table.labelled(other).labels) == 0
    assert table.rows() == 3

    table.use(mine)
    pd.testing.assert_frame_equal(pd.read_csv(home.prod_data), before)


def test_labelled_rows_are_the_same_through_a_stored_and_another_embedding(home, table, embedding_id):
    table.add([feedback(home, str(number), row=number) for number in range(10)], embedding_id)
    stored = table.labelled(home.preparation.embedding)
    home.write(PROJECT.replace("components = 5", "components = 4"))
    home.train()

    other = table.labelled(home.preparation.embedding)  # prod_data.csv still shows the first embedding

    assert np.array_equal(stored.labels, other.labels)
    assert np.allclose(stored.vectors[:, :4], other.vectors)


def test_labelled_rows_come_behind_a_row_and_those_given_before_them(home, table, embedding_id):
    table.add([feedback(home, str(number), row=number) for number in range(10)], embedding_id)
    embedding = home.preparation.embedding
    known = Labelled(np.zeros(2, dtype=np.int64), np.full((2, 5), 7.0), np.array([1, 0]))

    learned = table.labelled(embedding, after=7, before=known)

    assert learned.rows.tolist() == [0, 0, 8, 9, 10]
    assert np.array_equal(learned.vectors[:2], known.vectors)
    assert np.allclose(learned.vectors[2:], embedding.vectors(home.preparation.test_records[7:10]))
    assert learned.labels.tolist() == [1, 0, 0, 0, 0]


def test_labelled_rows_are_read_in_less_memory_than_their_vectors_take(home, table):
    home.write(PROJECT.replace("components = 5", 'components = "all"'))
    home.train()
    embedding, store = home.preparation.embedding, home.store
    store.feedback.use(embedding)
    row = store.feedback.add([feedback(home, "0")], embedding.id)[0].row
    with connect(home.places.database).writing() as connection:
        first = connection.execute(sa.select(FEEDBACK)).one()._asdict()
        copies = [{**first, "row": row + number, "prediction_id": str(number)} for number in range(1, 20_000)]
        connection.execute(sa.insert(FEEDBACK), copies)

    tracemalloc.start()
    learned = store.feedback.labelled(embedding)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert np.array_equal(learned.vectors, np.tile(embedding.vectors(home.preparation.test_records[:1]), (20_000, 1)))
    assert peak < learned.vectors.nbytes


def test_one_run_at_a_time_and_requests_meanwhile_coalesce_into_the_next(home):
    runs = home.store.runs
    runs.request("manual")
    first = runs.claim("me", lease_seconds=60)
    for _ in range(3):
        runs.request("manual")

    assert runs.claim("other", lease_seconds=60) is None
    runs.finish(first, "me", "finished", {}, verdict="rejected")
    second = runs.claim("other", lease_seconds=60)

    assert second.id == 2
    assert [(run.id, run.state, run.coalesced_into) for run in runs.newest(2)] == [
        (4, "coalesced", 2),
        (3, "coalesced", 2),
    ]


def test_a_run_whose_trainer_died_is_taken_over_and_the_old_trainer_is_fenced_off(home):
    runs = home.store.runs
    runs.request("manual")
    dead = runs.claim("dead", lease_seconds=-1)

    taken = runs.claim("alive", lease_seconds=60)

    assert (taken.id, taken.attempts) == (dead.id, 2)
    for late in (lambda: runs.renew(dead, "dead", 60), lambda: runs.finish(dead, "dead", "finished", {})):
        with pytest.raises(LeaseLost):
            late()


def test_a_run_that_kills_every_trainer_fails_in_the_end(home):
    runs = home.store.runs
    runs.request("manual")
    for _ in range(3):
        runs.claim("dying", lease_seconds=-1)

    assert runs.claim("next", lease_seconds=60) is None
    assert runs.get(1).state == "failed"
    assert runs.get(1).reason == "the trainer died 3 times in this run"


def test_the_same_idempotency_key_is_the_same_run(home):
    runs = home.store.runs

    assert runs.request("manual", "key").id == runs.request("manual", "key").id
    assert len(runs.newest(10)) == 1
