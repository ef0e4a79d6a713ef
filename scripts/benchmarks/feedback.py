"""What group commit gains: durable feedback over HTTP, against one commit for each row without any HTTP.

Rates depend on the machine and its disk; the ratios should not.
"""

import asyncio
import json
import tempfile
import time
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

import typer
import uvloop

from boucle.store import Feedback
from tests import postgresql
from tests.support import PROJECT, Home, free_port, rows_of, serving

CONNECTIONS = (1, 8, 64)
SECONDS, ROWS, ROUNDS = 3.0, 300, 3
REQUEST = b"POST /feedback HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"


class Client(asyncio.Protocol):
    """One keep-alive connection, whose next feedback follows the receipt of the last one."""

    def __init__(self, request: bytes, until: float, latencies: list[float]) -> None:
        self._request, self._until, self._latencies = request, until, latencies
        self.finished = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Send the first one."""
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        """Send the next one when the receipt, a JSON object, has come."""
        self._received += data
        if not self._received.endswith(b"}"):
            return
        if not self._received.startswith(b"HTTP/1.1 201"):
            self.finished.set_exception(RuntimeError(self._received.decode()))
            return
        self._latencies.append(time.perf_counter() - self._started)
        if time.perf_counter() < self._until:
            self._send()
        else:
            self._transport.close()
            self.finished.set_result(None)

    def _send(self) -> None:
        self._started, self._received = time.perf_counter(), b""
        self._transport.write(self._request)


def main() -> None:
    """Print a table for each database."""
    for database in ("sqlite", "postgresql"):
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            server = stack.enter_context(postgresql.running()) if database == "postgresql" else None
            home = Home(Path(folder) / "home", stack.enter_context(server.database()) if server else None)
            home.write(PROJECT.replace("k = 50", "k = 0")).train()
            compare(database, home)


def compare(database: str, home: Home) -> None:
    """Rates in rounds by turns, so that a noisy moment meets both."""
    alone: list[float] = []
    grouped: dict[int, list[tuple[float, list[float]]]] = {number: [] for number in CONNECTIONS}
    port = free_port()
    with serving(home, workers=1, port=port):
        for number in range(ROUNDS):
            alone.append(_one_commit_per_row(home, number))
            for connections, rounds in grouped.items():
                rounds.append(uvloop.run(_load(port, _request(home), connections)))
    acknowledged = ROUNDS * ROWS + sum(len(latencies) for rounds in grouped.values() for _, latencies in rounds)
    assert len(rows_of(home)) == home.store.feedback.rows() == acknowledged  # noqa: S101 (durable is what it says)
    base = _median(alone)
    typer.echo(f"\n{database:14}     rows/s   ratio   p50 ms   p99 ms")
    typer.echo(f"  a commit each {base:10,.0f} {1.0:7.1f}")
    for connections, rounds in grouped.items():
        rate, latencies = (
            _median([rate for rate, _ in rounds]),
            sorted(chain.from_iterable(times for _, times in rounds)),
        )
        p50, p99 = (1000 * latencies[int(share * len(latencies))] for share in (0.5, 0.99))
        typer.echo(f"  {connections:2} connections {rate:10,.0f} {rate / base:7.1f} {p50:8.1f} {p99:8.1f}")


def _one_commit_per_row(home: Home, number: int) -> float:
    store, embedding, record = home.store, home.preparation.embedding, home.preparation.test_records[0]
    vector = embedding.vectors([record])[0]
    started = time.perf_counter()
    for row in range(ROWS):
        store.feedback.add([Feedback(f"{number} {row}", record, vector, "malignant", "benign", None)], embedding.id)
    return ROWS / (time.perf_counter() - started)


async def _load(port: int, request: bytes, connections: int) -> tuple[float, list[float]]:
    loop, latencies, started = asyncio.get_running_loop(), list[float](), time.perf_counter()
    clients = [
        await loop.create_connection(lambda: Client(request, started + SECONDS, latencies), "127.0.0.1", port)
        for _ in range(connections)
    ]
    await asyncio.gather(*(client.finished for _, client in clients))
    return len(latencies) / (time.perf_counter() - started), latencies


def _request(home: Home) -> bytes:
    body = {"data": home.preparation.test_records[0], "prediction": "benign", "target": "malignant"}
    content = json.dumps(body).encode()
    return REQUEST % (len(content), content)


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


if __name__ == "__main__":
    typer.run(main)
