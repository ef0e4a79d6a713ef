"""A real HTTP server with rows to collect, which misbehaves as a test tells it."""

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit


@dataclass
class Answer:
    """One answer: what is sent, and how."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    length: int | None = None


def page(items: list, **more) -> Answer:
    """A page as a well-behaved API gives it."""
    return Answer(json.dumps({"items": items, **more}).encode())


def packed(body: bytes) -> Answer:
    """The same bytes under gzip."""
    return Answer(gzip.compress(body), headers={"Content-Encoding": "gzip"})


@dataclass
class Api:
    """Where it is, what it was asked, and what it answers: a function of the query."""

    url: str
    answer: Callable[[dict[str, str]], Answer]
    asked: list[dict[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def serve(self, rows: list[dict], size: int = 2) -> "Api":
        """Answer with numbered pages of the rows."""

        def numbered(query: dict[str, str]) -> Answer:
            first = (int(query.get("page", "1")) - 1) * size
            return page(rows[first : first + size])

        self.answer = numbered
        return self


@contextmanager
def api(port: int = 0) -> Iterator[Api]:
    """An API that runs until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            query = dict(parse_qsl(urlsplit(self.path).query))
            served.asked.append(query)
            served.headers.append(dict(self.headers))
            given = served.answer(query)
            self.send_response(given.status)
            for name, value in given.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(given.body) if given.length is None else given.length))
            self.end_headers()
            try:
                self._send(given)
            except OSError:
                pass  # the client has given up, which is what some tests are about

        def _send(self, given):
            if not given.seconds:
                self.wfile.write(given.body)
                return
            for byte in given.body:  # drop by drop
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(given.seconds)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    served = Api(f"http://127.0.0.1:{server.server_port}/rows", lambda _: page([]))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
