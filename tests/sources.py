"""What the tests of collecting share: a project with one source, and a real API that misbehaves as it is told."""

import gzip
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import duckdb
import pandas as pd

from boucle.config import load_project
from boucle.etl import loading
from boucle.etl.taking import Wanted
from tests.support import PROJECT, ROOT

COLUMNS = """
columns = [
    { name = "id", type = "integer", minimum = 1 },
    { name = "day", type = "date", minimum = 2020-01-01 },
    { name = "amount", type = "number", nullable = true, maximum = 1000.0 },
    { name = "plan", type = "text", categories = ["basic", "plus"] },
]
key = ["id"]
cursor = "day"
"""
ROWS = [
    {"id": number, "day": f"2026-01-{number:02}", "amount": number / 2, "plan": ["basic", "plus"][number % 2]}
    for number in range(1, 11)
]


class Place:
    """A project with one source, and what a run makes of it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data, self.drop = folder, folder / "data", folder / "drop"
        self.drop.mkdir(parents=True)
        self.said: list[str] = []
        self.declare(f'kind = "files"\npath = "{self.drop}/*"\n{COLUMNS}')

    def declare(self, source: str, more: str = "") -> None:
        text = f'{PROJECT}\n[[etl.sources]]\nname = "sales"\n{source}\n{more}'
        (self.folder / "project.toml").write_text(text)

    @property
    def project(self):
        return load_project(self.folder / "project.toml")

    def run(self, environment=None, wait=0.0, database="", **wanted):
        self.said.clear()
        say, asked = self.said.append, Wanted(**wanted)
        return loading.run(self.project.etl, self.data, asked, (), environment or {}, wait, say, database)[0]

    def rows(self, query="SELECT COLUMNS('^[^_]') FROM sales ORDER BY id"):
        with duckdb.connect(self.data / "warehouse.duckdb", read_only=True) as connection:
            return connection.execute(query).fetchall()

    def ids(self):
        return [row[0] for row in self.rows("SELECT id FROM sales ORDER BY id")]

    def reasons(self):
        return [row[0] for row in self.rows("SELECT reason FROM quarantine ORDER BY batch, row")]

    def lake(self):
        return sorted(path.name for path in self.data.rglob("batch-*.parquet"))

    def csv(self, name, rows, **more):
        pd.DataFrame(rows).to_csv(self.drop / name, index=False, **more)


def start(place, *options, stderr=subprocess.STDOUT, **more):
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "scripts")]),
        "PYTHONUNBUFFERED": "1",
        "BOUCLE_PROJECT": str(place.folder / "project.toml"),
        "BOUCLE_DATA": str(place.data),
    }
    command = [sys.executable, "-c", "from boucle.cli import main; main()", "etl", *options]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=stderr, **more)


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
            with suppress(OSError):  # a client that has given up is what some tests are about
                self._send(given)

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
