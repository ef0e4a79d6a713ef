"""What many requests want at once of something slow is done for all of them together."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from time import perf_counter, sleep
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

PAUSES, LONGEST_PAUSE_SECONDS = 10, 0.005  # in the last answer's time; a database may have been away meanwhile


class Grouped(Generic[Asked, Answer]):
    """One thread that answers, together, all who came while it answered the ones before.

    ``answer`` gets what was asked, ``most`` at most, in the order in which it came; it returns an answer for each, or
    the exception that one deserves. What it raises, all of them get. Who comes alone is answered at once; the first of
    a crowd that was just answered waits for the others while they keep coming, as long as their answer took at most.
    """

    def __init__(self, name: str, answer: Callable[[Sequence[Asked]], Sequence[Answer | Exception]], most: int) -> None:
        self._answer = answer
        self._most = most
        self._queue: SimpleQueue[tuple[Asked, asyncio.Future[Answer]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True, name=name)
        self._loop: asyncio.AbstractEventLoop

    def start(self) -> None:
        """Begin to answer; called in the event loop in which they will ask."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def stop(self) -> None:
        """Answer those who wait, then end; called outside the event loop, which is needed to tell them."""
        self._queue.put(None)
        self._thread.join()

    def ask(self, asked: Asked) -> "asyncio.Future[Answer]":
        """The answer, once it is there. Who gives up waiting changes nothing: it is given, and nobody hears it."""
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._queue.put((asked, future))
        return future

    def _work(self) -> None:
        is_stopped, crowd, pause = False, 0, 0.0
        while not is_stopped:
            taken = [self._queue.get()]
            self._gather(crowd, pause)
            taken += [self._queue.get() for _ in range(min(self._queue.qsize(), self._most - 1))]
            waiting = [one for one in taken if one is not None]
            is_stopped = len(waiting) < len(taken)
            if waiting:
                started = perf_counter()
                answers = self._answers([asked for asked, _ in waiting])
                crowd, pause = len(waiting), min((perf_counter() - started) / PAUSES, LONGEST_PAUSE_SECONDS)
                self._loop.call_soon_threadsafe(_tell, [future for _, future in waiting], answers)

    def _gather(self, crowd: int, pause: float) -> None:
        """Wait for the others of the last crowd: else the first would pay for a commit, and they for another one."""
        came = self._queue.qsize()
        for _ in range(PAUSES):
            if 1 + came >= crowd:
                return
            sleep(pause)
            before, came = came, self._queue.qsize()
            if came == before:
                return

    def _answers(self, asked: Sequence[Asked]) -> Sequence[Answer | Exception]:
        try:
            return self._answer(asked)
        except Exception as failure:  # whatever it is, who waits must hear of it, and the thread goes on
            return [failure] * len(asked)


def _tell(futures: Sequence["asyncio.Future[Answer]"], answers: Sequence[Answer | Exception]) -> None:
    for future, answer in zip(futures, answers, strict=True):
        if future.done():  # cancelled: its client is gone
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
