"""A paged API, well-behaved and otherwise: a real server on this machine."""

import json
import subprocess

import pytest

from tests.sources import COLUMNS, ROWS, Answer, Place, api, packed, page, start


@pytest.fixture
def served():
    with api() as started:
        yield started


@pytest.fixture
def place(tmp_path, served):
    place = Place(tmp_path)
    declare(place, served)
    return place


def declare(place, served, more=""):
    place.declare(
        f'kind = "http"\nurl = "{served.url}"\nitems = "items"\npage_parameter = "page"\nretries = 1\n'
        f"timeout_seconds = 1\n{more}{COLUMNS}"
    )


def test_all_pages_are_taken_once_and_the_next_run_goes_on_there(place, served):
    served.serve(ROWS[:5])
    first = place.run()
    served.asked.clear()
    served.serve(ROWS)

    second = place.run()

    assert (first.rows, second.rows) == (5, 5)
    assert [query["page"] for query in served.asked] == ["3", "4", "5", "6"]
    assert place.ids() == list(range(1, 11))


def test_a_limit_takes_so_many_and_the_next_run_the_next(place, served):
    served.serve(ROWS, size=4)

    taken = [place.run(limit=3).rows for _ in range(5)]

    assert taken == [3, 3, 3, 1, 0]
    assert place.ids() == list(range(1, 11))


def test_a_limit_of_bytes_is_kept(place, served):
    served.serve(ROWS)

    outcome = place.run(max_bytes=200)

    assert 0 < outcome.rows < 5
    assert place.run().rows == 10 - outcome.rows


def test_a_pointer_to_the_next_page_is_followed(place, served):
    pages = {"": page(ROWS[:4], meta={"next": "abc"}), "abc": page(ROWS[4:8], meta={"next": None})}
    served.answer = lambda query: pages[query.get("after", "")]
    place.declare(
        f'kind = "http"\nurl = "{served.url}"\nitems = "items"\nnext = "meta.next"\nnext_parameter = "after"\n{COLUMNS}'
    )
    place.run()
    pages["abc"] = page(ROWS[4:], meta={})

    outcome = place.run()

    assert outcome.rows == 2
    assert place.ids() == list(range(1, 11))


def test_only_what_is_newer_is_asked_for(place, served):
    known = ROWS[:6]
    served.answer = lambda query: page(
        [row for row in known if row["day"] >= query.get("from", "")] if query["page"] == "1" else []
    )
    declare(place, served, 'since_parameter = "from"\n')
    place.run()
    known.extend([{**ROWS[5], "id": 60}, *ROWS[6:]])
    served.asked.clear()

    place.run()

    assert served.asked[0] == {"page": "1", "from": "2026-01-06"}
    assert place.ids() == [*range(1, 11), 60]


def test_a_source_that_is_down_is_said_and_everything_comes_when_it_is_back(tmp_path):
    with api() as gone:
        pass
    place = Place(tmp_path)
    declare(place, gone)

    outcome = place.run()

    assert f"source sales: {gone.url}, page 1 does not answer" in outcome.error
    assert "\n" not in outcome.error
    with api(int(gone.url.split(":")[2].split("/")[0])) as back:
        back.serve(ROWS)
        assert place.run().rows == 10


def test_a_hiccup_is_tried_again(place, served):
    served.serve(ROWS)
    good, failures = served.answer, [Answer(status=500), Answer(b'{"items": [{"id"'), Answer(status=429)]
    served.answer = lambda query: failures.pop() if failures and query["page"] != "1" else good(query)
    text = (place.folder / "project.toml").read_text().replace("retries = 1", "retries = 3")
    (place.folder / "project.toml").write_text(text)

    outcome = place.run()

    assert (outcome.error, outcome.rows) == (None, 10)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(status=500), "answers 500"),
        (Answer(status=404), "answers 404"),
        (Answer(b'{"items": [{"id": 1, "da'), "is no JSON"),
        (Answer(b'{"items": []}', length=500), "does not answer"),
        (Answer('{"items": [{"id": 5, "plan": "café"}]}'.encode("latin-1")), "is no JSON"),
        (Answer(b"[" * 200_000), "is no JSON"),
        (Answer(b'{"results": []}'), "holds no list of objects at items = 'items'"),
        (Answer(b'{"items": [1, 2]}'), "holds no list of objects"),
        (Answer(b'{"items": []}' + b" " * 40, seconds=0.05), "took longer than 1 s"),
        (Answer(b"not gzip", headers={"Content-Encoding": "gzip"}), "does not answer"),
        (packed(b'{"items": [' + b" " * 60_000_000 + b"]}"), "is longer than page_bytes = 50,000,000, unpacked"),
    ],
)
def test_what_came_before_a_failure_is_kept_and_the_next_run_resumes(place, served, answer, said):
    served.serve(ROWS)
    good = served.answer
    served.answer = lambda query: answer if query["page"] == "3" else good(query)

    broken = place.run()

    assert f"{served.url}, page 3" in broken.error
    assert said in broken.error
    assert "\n" not in broken.error
    assert place.ids() == [1, 2, 3, 4]

    served.answer = good
    assert place.run().rows == 6
    assert place.ids() == list(range(1, 11))


def test_pages_that_come_twice_load_their_rows_once(place, served):
    pages = [ROWS[:3], ROWS[:3], ROWS[3:6], ROWS[2:8]]
    served.answer = lambda query: page(pages[int(query["page"]) - 1] if int(query["page"]) <= len(pages) else [])

    outcome = place.run()

    assert outcome.error is None
    assert place.ids() == list(range(1, 9))


def test_an_api_that_answers_its_last_page_for_ever_is_left(place, served):
    served.answer = lambda _: page(ROWS)

    outcome = place.run()

    assert (outcome.error, place.ids()) == (None, list(range(1, 11)))
    assert len(served.asked) < 5


def test_no_rows_are_no_error(place, served):
    outcome = place.run()

    assert (outcome.error, outcome.rows) == (None, 0)
    assert place.said[-1] == "sales: nothing new"


def test_a_changed_type_stops_the_load_and_rows_alone_go_to_quarantine(place, served):
    served.serve([{**row, "amount": {"value": row["amount"]}} for row in ROWS])

    outcome = place.run()

    assert "column amount holds no number any more" in outcome.error
    assert place.lake() == []

    served.serve([{**ROWS[0], "amount": [1]}, *ROWS[1:]])
    assert place.run().quarantined == 1
    assert place.reasons() == ["amount: [1] is no number"]


def test_records_may_leave_out_what_is_null(place, served):
    served.serve([{name: value for name, value in row.items() if name != "amount"} for row in ROWS])

    outcome = place.run()

    assert (outcome.error, outcome.loaded) == (None, 10)


def test_records_that_have_little_in_common_are_records_all_the_same(place, served):
    served.serve([*ROWS[:3], {}, {"id": 11, "": 1}, {f"x{number}": number for number in range(300)}], size=10)

    outcome = place.run()

    assert (outcome.error, outcome.loaded, outcome.quarantined) == (None, 3, 3)


def test_numbers_keep_every_digit(place, served):
    place.declare(
        f'kind = "http"\nurl = "{served.url}"\nitems = "items"\ncolumns = [{{ name = "n", type = "integer" }}]'
    )
    served.answer = lambda _: Answer(b'{"items": [{"n": 9007199254740993}, {"n": 9223372036854775807}]}')

    place.run()

    assert place.rows("SELECT n FROM sales ORDER BY n") == [(9007199254740993,), (9223372036854775807,)]


def test_a_secret_comes_from_the_environment_and_is_written_nowhere(place, served):
    declare(place, served, 'headers = { Authorization = "SALES_TOKEN" }\n')
    served.serve(ROWS)

    assert "the environment has no SALES_TOKEN, for its header Authorization" in place.run().error
    place.run({"SALES_TOKEN": "Bearer hush"})

    assert served.headers[0]["Authorization"] == "Bearer hush"
    kept = [path.read_bytes() for path in place.folder.rglob("*") if path.is_file()]
    assert not any(b"hush" in content for content in kept)


def test_killed_between_pages_it_goes_on(place, served):
    rows = [{**ROWS[0], "id": number} for number in range(1, 41)]
    served.serve(rows, size=1)
    slow, count = served.answer, iter(range(1_000))
    process = start(place)

    def dying(query):
        if next(count) == 20:
            process.kill()
        return slow(query)

    served.answer = dying
    process.wait(60)

    outcome = place.run()

    assert process.returncode == -9
    assert (outcome.error, place.ids()) == (None, list(range(1, 41)))


def test_the_command_says_why_and_ends_with_1(place, served):
    served.answer = lambda _: Answer(status=500)

    process = start(place, "--json", stderr=subprocess.PIPE)
    output, said = process.communicate(timeout=60)

    assert process.returncode == 1
    assert "answers 500" in json.loads(output)[0]["error"]
    assert said.rstrip().endswith("sales not loaded; the message above says why")
