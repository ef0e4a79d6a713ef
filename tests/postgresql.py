"""A real PostgreSQL server for the tests: Debian's, in a folder of its own."""

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg

# Only a socket in a folder that nobody else may enter: no port to collide on, and no password to keep.
SETTINGS = "listen_addresses = ''\nunix_socket_directories = '{folder}'\nmax_connections = 200\n"


def installed() -> Path | None:
    """The folder of the newest server's programs, or None."""
    found = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    return max((path.parent for path in found), key=lambda folder: int(folder.parent.name), default=None)


class PostgreSQL:
    """One server, which can be stopped and started."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._numbers = itertools.count(1)

    def create(self) -> None:
        """Make the cluster; its superuser is called postgres, and fsync is on as it is by default."""
        self._run("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C")
        with (self._folder / "cluster" / "postgresql.conf").open("a") as file:
            file.write(SETTINGS.format(folder=self._folder))

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Return when the server accepts connections; it has more in its ``environment`` than this process."""
        self._run("pg_ctl", "start", "--wait", "--silent", f"--log={self._folder / 'log'}", environment=environment)

    def stop(self, mode: str) -> None:
        """Cut every connection and end the server; ``immediate`` is its crash."""
        self._run("pg_ctl", "stop", "--wait", "--silent", f"--mode={mode}")

    @contextmanager
    def crashed(self) -> Iterator[None]:
        """Without a server for a while, which had no time to say goodbye."""
        self.stop("immediate")
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def database(self) -> Iterator[str]:
        """SQLAlchemy URL of a new, empty database, which is dropped with the block."""
        name = f"test_{next(self._numbers)}"
        self._administer(f"CREATE DATABASE {name}")
        try:
            yield f"postgresql+psycopg://postgres@/{name}?host={self._folder}"
        finally:
            self._administer(f"DROP DATABASE {name} WITH (FORCE)")

    def _administer(self, statement: str) -> None:
        with psycopg.connect(host=str(self._folder), user="postgres", dbname="postgres", autocommit=True) as connection:
            connection.execute(statement)

    def _run(self, program: str, *options: str, environment: Mapping[str, str] | None = None) -> None:
        # The server refuses to be root; Debian's package brings the user that it wants to be.
        user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        command = [self._programs / program, f"--pgdata={self._folder / 'cluster'}", *options]
        known = {**os.environ, **(environment or {})}
        done = subprocess.run(command, cwd=self._folder, env=known, capture_output=True, text=True, check=False, **user)
        assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def running(environment: Callable[[Path], Mapping[str, str]] = lambda _: {}) -> Iterator[PostgreSQL]:
    """A new server, gone with the block; it finds what its ``environment`` names in its own folder."""
    folder = Path(tempfile.mkdtemp(prefix="boucle-postgresql-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    server = PostgreSQL(installed(), folder)
    try:
        server.create()
        server.start(environment(folder))
        try:
            yield server
        finally:
            server.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
