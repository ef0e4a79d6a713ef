"""One large file, sent while its answer is already being read."""

import socket
import threading
import time
from dataclasses import dataclass
from http.client import HTTPResponse
from urllib.parse import urlsplit

from scripts.benchmarks.serving.server import Request, ServerFailed

CHUNK = 1 << 20


@dataclass(frozen=True)
class Rows:
    """How many lines came back, how many of them were errors, and how long it took."""

    answered: int
    errors: int
    seconds: float


def stream(url: str, request: Request, deadline_seconds: float) -> Rows:
    """Send the request's file and count the lines of the answer, holding neither in memory.

    Raises:
        ServerFailed: when the answer is no 200, or is not whole before the deadline.
    """
    address, started = urlsplit(url), time.perf_counter()
    with socket.create_connection((address.hostname, address.port), timeout=deadline_seconds) as connection:
        sender = threading.Thread(target=_send, args=(connection, request, address.netloc), daemon=True)
        sender.start()
        answer = HTTPResponse(connection, method="POST")
        try:
            answer.begin()
            if answer.status != 200:
                raise ServerFailed(f"{answer.status}: {answer.read(CHUNK).decode(errors='replace')[:300]}")
            answered = errors = 0
            # A line may stand across two chunks, a key hardly ever: lines are counted exactly, and errors nearly.
            while chunk := answer.read1(CHUNK):
                answered += chunk.count(b"\n")
                errors += chunk.count(b'"error":')
                if time.perf_counter() - started > deadline_seconds:
                    raise ServerFailed(f"{answered:,} rows answered after {deadline_seconds:g} s")
        except TimeoutError as error:
            raise ServerFailed(f"no answer for {deadline_seconds:g} s") from error
        sender.join()
    return Rows(answered, errors, time.perf_counter() - started)


def _send(connection: socket.socket, request: Request, host: str) -> None:
    length = request.file.stat().st_size
    head = f"POST {request.path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {request.media_type}\r\n"
    with request.file.open("rb") as file:
        try:
            connection.sendall(f"{head}Content-Length: {length}\r\nConnection: close\r\n\r\n".encode())
            connection.sendfile(file)
        except OSError:  # refused before it was read: the answer says why
            return
