"""Feedback of many at once: one transaction for all, and to each its own answer."""

import asyncio
import dataclasses
import threading
from contextlib import asynccontextmanager
from itertools import islice

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DataError, OperationalError

from boucle.errors import EmbeddingChanged, FeedbackConflict
from boucle.store import Receipt
from serving import grouping
from serving.api import create_app
from serving.committer import Committer
from serving.given import Given, Truth
from serving.grouping import Grouped
from serving.settings import Settings
from tests.support import on_each_database, rows_of

CLIENTS = 40


@asynccontextmanager
async def serving(home):
    """The application in this event loop, and a client of it."""
    app = create_app(Settings(watch_seconds=60), home.places)
    async with app.router.lifespan_context(app):
        count(app.state.parts.committer)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60) as client:
            yield app.state.parts, client


def count(committer):
    """Let the committer count who asks it."""
    ask, committer.asked = committer.ask, 0

    def counted(given):
        committer.asked += 1
        return ask(given)

    committer.ask = counted


@asynccontextmanager
async def all_at_once(parts):
    """Lets every request inside arrive before any is committed."""
    with parts.store.feedback._database.writing():
        yield


def bodies(home, number=CLIENTS):
    records = home.preparation.test_records
    return [{"data": records[n % len(records)], "prediction": "benign", "target": "malignant"} for n in range(number)]


async def post(client, body, key=None):
    return await client.post("/feedback", json=body, headers={"Idempotency-Key": key} if key else {})


async def arrived(parts, number):
    """Return when so many have asked the committer."""
    async with asyncio.timeout(30):
        while parts.committer.asked < number:
            await asyncio.sleep(0.01)


def transactions(parts):
    """The transactions that are committed from now on."""
    seen = []
    sa.event.listen(parts.store.feedback._database.engine, "commit", seen.append)
    return seen


@on_each_database
def test_who_comes_together_is_committed_together_and_each_gets_its_own_row(home):
    async def scenario():
        async with serving(home) as (parts, client):
            async with all_at_once(parts):
                sent = [asyncio.create_task(post(client, body)) for body in bodies(home)]
                await arrived(parts, CLIENTS)
                committed = transactions(parts)
            answers = [await one for one in sent]
            return answers, len(committed)

    answers, committed = asyncio.run(scenario())

    assert {answer.status_code for answer in answers} == {201}
    assert sorted(answer.json()["row"] for answer in answers) == list(range(1, CLIENTS + 1))
    # The one that the test held, the first one's, and one for all who came behind it.
    assert committed <= 3
    assert len(rows_of(home)) == CLIENTS
    assert not home.store.feedback.repair_projection()


@on_each_database
def test_in_one_transaction_a_wrong_one_fails_alone_and_a_repeated_one_is_stored_once(home):
    body, other = bodies(home, 1)[0], bodies(home, 1)[0] | {"target": "benign"}

    async def scenario():
        async with serving(home) as (parts, client):
            async with all_at_once(parts):
                given = [(body, "a"), (body, "b"), (other, "b"), (body, "b"), (other, "c"), (body, "a")]
                sent = []
                for number, one in enumerate(given, 1):
                    sent.append(asyncio.create_task(post(client, *one)))
                    await arrived(parts, number)
            return [await one for one in sent]

    answers = asyncio.run(scenario())

    assert [answer.status_code for answer in answers] == [201, 201, 409, 201, 201, 201]
    assert [answer.json()["row"] for answer in answers if answer.status_code == 201] == [1, 2, 2, 3, 1]
    assert answers[2].json()["title"] == "Feedback conflicts with an earlier one"
    assert len(rows_of(home)) == 3


def test_a_client_that_leaves_meanwhile_is_stored_and_disturbs_nobody(home):
    async def scenario():
        async with serving(home) as (parts, client):
            async with all_at_once(parts):
                sent = [asyncio.create_task(post(client, body)) for body in bodies(home, 5)]
                await arrived(parts, 5)
                sent[2].cancel()
                await asyncio.sleep(0)
            answers = await asyncio.gather(*sent, return_exceptions=True)
            return answers, await post(client, bodies(home, 1)[0])

    answers, later = asyncio.run(scenario())

    assert isinstance(answers[2], asyncio.CancelledError)
    assert [answer.status_code for number, answer in enumerate(answers) if number != 2] == [201] * 4
    assert later.json()["row"] == len(rows_of(home)) == 6


def test_a_stop_answers_those_who_wait(home):
    async def scenario():
        async with serving(home) as (parts, client), all_at_once(parts):
            sent = [asyncio.create_task(post(client, body)) for body in bodies(home)]
            await arrived(parts, CLIENTS)
        return [await one for one in sent]

    answers = asyncio.run(scenario())

    assert {answer.status_code for answer in answers} == {201}
    assert len(rows_of(home)) == CLIENTS


def test_every_kth_row_of_a_group_requests_its_run(home):
    async def scenario():
        async with serving(home) as (parts, client):
            async with all_at_once(parts):
                sent = [asyncio.create_task(post(client, body)) for body in bodies(home, 120)]
                await arrived(parts, 120)
            return [(await one).json() for one in sent]

    receipts = asyncio.run(scenario())

    assert sorted(receipt["row"] for receipt in receipts if receipt["retraining_requested"]) == [50, 100]
    assert [run.trigger for run in home.store.runs.newest(10)] == ["feedback"] * 2


class Table:
    """A feedback table that fails as it is told, for single items or for all."""

    def __init__(self):
        self.rows, self.poison, self.failures = [], None, []

    def use(self, embedding):
        pass

    def add(self, items, embedding_id):
        if self.failures:
            raise self.failures.pop(0)
        if any(item.prediction_id == self.poison for item in items):
            raise DataError("insert", {}, Exception("too long"))
        self.rows += items
        return [
            FeedbackConflict(item.prediction_id)
            if item.prediction_id == "conflict"
            else Receipt(len(self.rows), item.prediction_id, "a", "a", None, None)
            for item in items
        ]


class Live:
    """Always the same version."""

    def __init__(self, version):
        self.version = version


class Watcher:
    """Counts how often it is told to follow."""

    checks = 0

    def check(self):
        self.checks += 1


@pytest.fixture
def committer(home):
    table, watcher = Table(), Watcher()
    return Committer(table, Live(home.artifacts.load_served()), watcher), table, watcher


def told(home, committer, *names):
    record, version = home.preparation.test_records[0], committer._live.version
    return [Given(Truth(name, record, "benign", "benign", None, None), version, None) for name in names]


def test_what_the_database_takes_from_nobody_fails_for_its_sender_alone(home, committer):
    committing, table, _ = committer
    table.poison = "b"

    outcomes = committing._commit(told(home, committing, "a", "b", "conflict", "c"))

    assert [type(outcome) for outcome in outcomes] == [Receipt, DataError, FeedbackConflict, Receipt]
    assert [row.prediction_id for row in table.rows] == ["a", "conflict", "c"]


def test_while_the_database_is_away_nobody_is_tried_alone(home, committer):
    committing, table, _ = committer
    table.failures = [OperationalError("begin", {}, Exception("away"))]

    with pytest.raises(OperationalError):
        committing._commit(told(home, committing, "a", "b"))

    assert (table.rows, table.failures) == ([], [])


def test_a_new_embedding_is_followed_before_anything_is_stored(home, committer):
    committing, table, watcher = committer
    table.failures = [EmbeddingChanged("new")] * 2

    outcomes = committing._commit(told(home, committing, "a", "b"))

    assert [outcome.prediction_id for outcome in outcomes] == ["a", "b"]
    assert watcher.checks == 2


def test_feedback_that_was_left_in_a_former_champions_embedding_follows_the_champion(home):
    former = dataclasses.replace(home.artifacts.load_served().embedding, id="former")

    async def scenario():
        async with serving(home) as (parts, client):
            parts.store.feedback.use(former)  # by a worker that saw the former champion, and died before it saw ours
            return await post(client, bodies(home, 1)[0])

    assert asyncio.run(scenario()).status_code == 201
    assert home.store.feedback.embedding_id() == home.artifacts.load_served().embedding.id


def test_a_group_whose_work_fails_hears_of_it_and_the_next_one_is_answered():
    groups, failing = [], threading.Event()
    failing.set()

    def work(asked):
        groups.append(list(asked))
        if failing.is_set():
            raise ValueError("no")
        return [one + 1 for one in asked]

    async def scenario():
        grouped = Grouped("test", work, most=3)
        grouped.start()
        failed = await asyncio.gather(*(grouped.ask(n) for n in range(5)), return_exceptions=True)
        failing.clear()
        answers = await asyncio.gather(*(grouped.ask(n) for n in range(7)))
        await asyncio.to_thread(grouped.stop)
        return failed, answers

    failed, answers = asyncio.run(scenario())

    assert [type(one) for one in failed] == [ValueError] * 5
    assert answers == list(range(1, 8))
    assert max(map(len, groups)) <= 3


def test_the_first_of_a_crowd_waits_for_the_others_and_who_comes_alone_for_nobody(monkeypatch):
    groups, pauses, crowd = [], [], threading.Barrier(2, timeout=10)

    def work(asked):
        groups.append(list(asked))
        if asked == [0]:
            crowd.wait()  # until the others have come
        return asked

    def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == 1:
            crowd.wait()  # the second one comes during the pause

    async def scenario():
        grouped = Grouped("test", work, most=9)
        grouped.start()
        asking = [asyncio.ensure_future(grouped.ask(0))]
        while not groups:
            await asyncio.sleep(0.001)
        asking += [asyncio.ensure_future(grouped.ask(n)) for n in (1, 2)]
        await asyncio.sleep(0)
        await asyncio.to_thread(crowd.wait)
        await asyncio.gather(*asking)
        again = [asyncio.ensure_future(grouped.ask(3))]
        while not pauses:
            await asyncio.sleep(0.001)
        again.append(asyncio.ensure_future(grouped.ask(4)))
        await asyncio.sleep(0)
        await asyncio.to_thread(crowd.wait)
        await asyncio.gather(*again)
        for n in (5, 6, 7):
            await grouped.ask(n)
        await asyncio.to_thread(grouped.stop)

    monkeypatch.setattr(grouping, "sleep", pause)
    asyncio.run(scenario())

    assert groups == [[0], [1, 2], [3, 4], [5], [6], [7]]
    assert len(pauses) == 2  # for 3, and for 5, whose company stayed away
    assert all(0 < seconds <= grouping.LONGEST_PAUSE_SECONDS for seconds in pauses)


@pytest.mark.parametrize("others", [3, 50])
def test_a_crowd_that_keeps_coming_is_waited_for_but_not_for_ever(monkeypatch, others):
    groups, asking, together = [], [], threading.Event()

    def work(asked):
        groups.append(len(asked))
        together.wait(10)
        return asked

    async def scenario():
        loop, grouped, waiting = asyncio.get_running_loop(), Grouped("test", work, most=100), iter(range(others))

        async def come():
            asking.extend(map(grouped.ask, islice(waiting, 1)))

        def pause(_):  # somebody comes in each
            if asking:
                asyncio.run_coroutine_threadsafe(come(), loop).result(10)

        monkeypatch.setattr(grouping, "sleep", pause)
        grouped.start()
        crowd = [grouped.ask(None)]
        while not groups:
            await asyncio.sleep(0.001)
        crowd += [grouped.ask(None) for _ in range(others + 1)]
        together.set()
        await asyncio.gather(*crowd)
        asking.append(grouped.ask(None))
        while len(groups) < 3:
            await asyncio.sleep(0.001)
        await asyncio.gather(*asking)
        await asyncio.to_thread(grouped.stop)

    asyncio.run(scenario())

    assert groups[:3] == [1, others + 1, 1 + min(others, grouping.PAUSES)]
