"""The prediction log: packed as it is, it answers as if each prediction were a row."""

import json
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from boucle.store import LoggedPrediction, PredictionSource, open_store
from boucle.store.chunks import CHUNK_ROWS, write
from boucle.store.chunks import pack as pack_written
from tests.support import new_id, on_each_database

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
MIXED = PredictionSource("v1", "champion", ("x", "is ok", 'a "gap"', "where"), ("false", "true"))
VALUES = (1.0, True, None, 'Ærø, "1"')


@pytest.fixture
def log(database, tmp_path):
    return open_store(database or f"sqlite:///{tmp_path / 'boucle.db'}", tmp_path, 50).predictions


def pack(source, rows):
    return pack_written(source, [write(row) for row in rows])


def at(seconds):
    return START + timedelta(seconds=seconds)


def row(seconds=0.0):
    return (new_id(at(seconds)), 0.001, VALUES, True, [0.25, 0.75])


def identifiers(logged):
    return [prediction.prediction_id for prediction in logged]


def view(log, columns="*"):
    with log._database.reading() as connection:
        return connection.execute(sa.text(f"SELECT {columns} FROM predictions ORDER BY prediction_id")).all()


@on_each_database
def test_a_prediction_is_found_as_it_was_given_types_and_all(log):
    given = row(0.123)

    log.add(list(pack(MIXED, [given])))

    found = log.find(given[0])
    assert found == LoggedPrediction(
        prediction_id=given[0],
        created_at="2026-03-01T12:00:00.123+00:00",
        model_version="v1",
        input={"x": 1.0, "is ok": True, 'a "gap"': None, "where": 'Ærø, "1"'},
        prediction=True,
        probabilities={"false": 0.25, "true": 0.75},
        latency_seconds=0.001,
    )
    assert [type(value) for value in found.input.values()] == [float, bool, type(None), str]


@on_each_database
def test_the_same_chunks_again_change_nothing(log):  # whoever lost the connection while committing repeats them
    chunks = list(pack(MIXED, [row(number / 1000) for number in range(10)]))

    log.add(chunks)
    log.add([*chunks, *pack(MIXED, [row(5)])])

    assert log.count() == 11


@on_each_database
@pytest.mark.parametrize("apart", [0.0, 0.0001, 0.004, 0.3, 0.999, 1.0, 40.0])
def test_every_prediction_is_found_however_close_they_were(log, apart):
    rows = [row(number * apart) for number in range(600)]
    chunks = list(pack(MIXED, rows))

    log.add(chunks)

    assert {log.find(given[0]).prediction_id for given in rows[::7]} == {given[0] for given in rows[::7]}
    assert sum(chunk.rows for chunk in chunks) == log.count() == 600
    assert max(chunk.rows for chunk in chunks) <= CHUNK_ROWS
    assert identifiers(log.newest(600)) == sorted(given[0] for given in rows)


@on_each_database
@pytest.mark.parametrize(
    "unknown",
    [
        "",
        "é",
        "p" * 64,
        "not-a-uuid-7",
        "00000000-0000-7000-8000-000000000000",
        "019ca8b1-0000-7000-8000-000000000000",
        "ffffffff-ffff-7fff-bfff-ffffffffffff",
    ],
)
def test_what_was_never_predicted_is_not_found(log, unknown):
    given = row()
    log.add(list(pack(MIXED, [given])))

    assert log.find(unknown) is None
    assert log.find(given[0].upper()) is None


@on_each_database
@pytest.mark.parametrize("width", [1, 2, 5])
def test_a_prediction_is_found_where_an_earlier_ones_first_value_is_its_identifier(log, width):
    source = PredictionSource("v1", "champion", tuple("abcde"[:width]), ("false", "true"))
    wanted = new_id(at(1))
    rows = [(prediction_id, 0.001, [wanted] * width, True, [0.25, 0.75]) for prediction_id in (new_id(at(0.5)), wanted)]

    log.add(list(pack(source, rows)))

    assert log.find(wanted).prediction_id == wanted
    assert set(log.find_all({given[0] for given in rows})) == {given[0] for given in rows}


@on_each_database
def test_chunks_of_workers_that_overlap_are_read_as_one_log(log):
    rows = [row(number / 100) for number in range(400)]
    workers = [rows[0::3], rows[1::3], rows[2::3]]
    log.add([chunk for worker in workers for chunk in pack(MIXED, worker)])
    everything = sorted(given[0] for given in rows)

    for limit in (1, 2, 3, 50, 399, 400, 500):
        assert identifiers(log.newest(limit)) == everything[-limit:]
    for position in (0, 1, 200, 398, 399):
        assert log.count_after(everything[position], limit=1_000) == 399 - position
        assert log.count_after(everything[position], limit=20) == min(20, 399 - position)
    assert log.count_after("", limit=1_000) == 400


@on_each_database
def test_an_empty_log_has_an_answer_to_everything(log):
    later = "2100-01-01T00:00:00.000+00:00"

    assert (log.newest(5), log.count_after("", 5), log.last_used(), log.count()) == ([], 0, {}, 0)
    assert (log.older_than(later), log.prune(later, 5)) == (0, 0)


@on_each_database
def test_a_chunk_goes_when_its_youngest_prediction_is_old(log):
    log.add(list(pack(MIXED, [row(number / 10) for number in range(100)])))

    cut = at(5.05).isoformat(timespec="milliseconds")

    assert log.older_than(cut) == log.prune(cut, most=1_000) == 50
    assert log.older_than(at(5.5).isoformat(timespec="milliseconds")) == 0
    assert log.count() == 50


@on_each_database
def test_the_view_shows_each_prediction_as_json_that_says_the_same(log):
    quantity = PredictionSource("v2", "champion", ("y",), ())
    given, other = row(0.5), (new_id(at(1.5)), 0.002, (1e22,), -0.1, [-0.1])
    log.add([*pack(MIXED, [given]), *pack(quantity, [other])])

    first, second = view(log)

    assert (first.prediction_id, first.created_at) == (given[0], "2026-03-01T12:00:00.500+00:00")
    assert (first.model_version, first.arm, first.client_id, first.latency_seconds) == ("v1", "champion", None, 0.001)
    assert json.loads(first.input) == log.find(given[0]).input
    assert json.loads(first.input)["is ok"] is True
    assert json.loads(first.prediction) is True
    assert json.loads(first.probabilities) == {"false": 0.25, "true": 0.75}
    assert (json.loads(second.input), json.loads(second.prediction)) == ({"y": 1e22}, -0.1)
    assert json.loads(second.probabilities) == {}


@on_each_database
def test_the_view_can_be_counted_and_searched(log):
    rows = [row(number / 100) for number in range(300)]
    log.add(list(pack(MIXED, rows)))

    assert view(log, "count(*) OVER ()")[0][0] == 300
    with log._database.reading() as connection:
        found = connection.execute(
            sa.text("SELECT created_at FROM predictions WHERE prediction_id = :id"), {"id": rows[123][0]}
        )
        assert found.scalar_one() == "2026-03-01T12:00:01.230+00:00"


def test_no_question_about_one_prediction_or_the_newest_reads_the_whole_log(log):
    plans = []

    def explain(connection, cursor, statement, parameters, *_):
        if statement.startswith("SELECT"):
            plans.extend(step[3] for step in cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))

    given = row()
    log.add(list(pack(MIXED, [given])))
    sa.event.listen(log._database.engine, "before_cursor_execute", explain)

    log.find(given[0])
    log.newest(10)
    log.count_after(given[0], 10)
    log.last_used()
    log.older_than(at(9).isoformat())

    assert len(plans) >= 7
    assert not [plan for plan in plans if plan.startswith("SCAN") and "INDEX" not in plan]
    assert not [plan for plan in plans if "TEMP B-TREE" in plan]


def test_the_write_ahead_log_is_emptied_in_small_pieces(log, tmp_path):
    for start in range(40):
        log.add(list(pack(MIXED, [row(start + n / 1000) for n in range(CHUNK_ROWS)])))

    written, kept = ((tmp_path / f"boucle.db{suffix}").stat().st_size for suffix in ("", "-wal"))
    assert kept < 1_000_000 < written  # SQLite by itself: 4 MB kept
