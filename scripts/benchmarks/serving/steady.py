"""Load at a fixed rate, whether or not the server keeps up: what its clients wait while something disturbs it."""

import asyncio
import time
from urllib.parse import urlsplit

import numpy as np

from scripts.benchmarks.serving.load import Answers
from scripts.benchmarks.serving.server import Request, ServerFailed

CONNECTIONS = 64
PATIENCE_SECONDS = 30.0


def ask(url: str, request: Request, rate: int, seconds: float) -> Answers:
    """So many requests a second; a latency begins when its request was due, if the server kept it from leaving.

    A request that leaves late because this process was late begins when it leaves: that is not the server's fault.
    """
    return asyncio.run(_Steady(url, request).run(rate, seconds))


class _Steady:
    def __init__(self, url: str, request: Request) -> None:
        address = urlsplit(url)
        body = request.file.read_bytes()
        head = f"POST {request.path} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: {request.media_type}\r\n"
        self._message = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        self._host, self._port = address.hostname, address.port
        self._latencies: list[float] = []
        self._errors = 0

    async def run(self, rate: int, seconds: float) -> Answers:
        self._free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        for _ in range(CONNECTIONS):
            self._free.put_nowait(await self._connect())
        started, asked = time.perf_counter(), set()
        for number in range(int(rate * seconds)):
            due = started + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            asked.add(asyncio.create_task(self._ask(due)))
        _, late = await asyncio.wait(asked, timeout=PATIENCE_SECONDS)
        for task in late:
            task.cancel()
        while not self._free.empty():
            self._free.get_nowait()[1].close()
        if not self._latencies:
            raise ServerFailed(f"none of {len(asked):,} requests was answered")
        p50, p99 = 1000 * np.quantile(self._latencies, (0.5, 0.99))
        return Answers(len(self._latencies), seconds, float(p50), float(p99), self._errors + len(late))

    async def _ask(self, due: float) -> None:
        is_late_by_us = not self._free.empty()
        reader, writer = await self._free.get()
        since = time.perf_counter() if is_late_by_us else due
        try:
            writer.write(self._message)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
        except (OSError, EOFError, IndexError):
            self._errors += 1
            writer.close()
            reader, writer = await self._connect()
        else:
            self._errors += not head.startswith(b"HTTP/1.1 200")
            self._latencies.append(time.perf_counter() - since)
        self._free.put_nowait((reader, writer))

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self._host, self._port)
