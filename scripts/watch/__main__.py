"""Wait for changes, carry out their steps, tell how it ended; until Ctrl-C."""

import os
import queue
import signal
import socket
import subprocess
import threading
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

import typer
from watchfiles import watch

from boucle import notifying
from boucle.config import Places, Recipients, load_project
from boucle.embedded import Ports
from boucle.errors import BoucleError
from scripts.watch.steps import LEFT_OUT, Step, in_order, steps_for

# An editor writes a file in several strokes, a checkout writes many.
QUIET_SECONDS = 0.5
PATIENCE_SECONDS = 10.0

Changes = queue.SimpleQueue[set[Path]]


class Watch:
    """Carries out steps; those that failed, or did not get their turn, come again with the next change."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._left: set[Step] = set()
        self._source = _source(root, None)

    def listen(self, changes: Changes, stop: threading.Event) -> None:
        """Put every change into the queue, from threads that end with ``stop``."""
        # The root without its folders: .venv and data hold ten thousands of files that are no one's business here.
        flat = {self._root, *([self._source.parent] if self._source else [])}
        deep = [
            path
            for path in self._root.iterdir()
            if path.is_dir() and not path.name.startswith(".") and path.name not in LEFT_OUT
        ]
        for paths, recursive in ((sorted(flat), False), (deep, True)):
            threading.Thread(target=_listen, args=(changes, paths, recursive, stop), daemon=True).start()

    def carry_out(self, changed: Collection[Path]) -> None:
        """Do what the changes ask for, up to the first step that fails, and tell how it ended."""
        self._source = _source(self._root, self._source)
        is_reporting = _is_reporting()
        asked = {
            path: steps_for([path], self._root, self._source, is_reporting=is_reporting) for path in sorted(changed)
        }
        names = [path.name for path, steps in asked.items() if steps]
        if not names:
            return
        steps = in_order(self._left.union(*asked.values()))
        typer.echo(f"\nwatch    {', '.join(names[:5])} changed: {', '.join(step.name for step in steps)}")
        done = _run_all(steps, self._root)
        self._left = set(steps[done:])
        _tell(steps, done)


def _run_all(steps: Sequence[Step], root: Path) -> int:
    """How many succeeded before one did not."""
    for done, step in enumerate(steps):
        typer.echo(f"watch    {step.name}: {' '.join(step.command)}")
        if _run(step.command, root) != 0:
            return done
    return len(steps)


def _run(command: Sequence[str], root: Path) -> int:
    # In a group of its own, lest Ctrl-C reach it and its children a second time.
    with subprocess.Popen(command, cwd=root, start_new_session=True) as started:  # noqa: S603  # ours, no shell
        try:
            return started.wait()
        except BaseException:
            _end(started)
            raise


def _end(started: subprocess.Popen[bytes]) -> None:
    for how in (signal.SIGINT, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(started.pid, how)
        with suppress(subprocess.TimeoutExpired):
            started.wait(PATIENCE_SECONDS)
            return


def _tell(steps: Sequence[Step], done: int) -> None:
    is_done = done == len(steps)
    names = ", ".join(step.name for step in steps[:done]) or "nothing"
    text = f"{names}: passed" if is_done else f"{steps[done].name} failed; passed before: {names}"
    typer.secho(f"watch    {text}", fg="green" if is_done else "red")
    try:
        notifying.send(notifying.Notification("Boucle watch", text, "ok" if is_done else "failed"), Recipients())
    except BoucleError as error:
        typer.secho(f"watch    {error}", fg="red")


def _listen(changes: Changes, paths: Sequence[Path], recursive: bool, stop: threading.Event) -> None:
    for some in watch(*paths, recursive=recursive, stop_event=stop, raise_interrupt=False):
        changes.put({Path(path) for _, path in some})


def _next(changes: Changes) -> set[Path]:
    """The changes up to a moment of quiet."""
    changed = changes.get()
    while True:
        try:
            changed |= changes.get(timeout=QUIET_SECONDS)
        except queue.Empty:
            return changed


def _source(root: Path, known: Path | None) -> Path | None:
    """The file that the project reads, if it is one; while project.toml is wrong, the one that was known."""
    try:
        source = root / load_project(root / Places().project).data.source
    except BoucleError:
        return known
    return source.resolve() if source.is_file() else None


def _is_reporting() -> bool:
    port, _ = Ports().parts["reporting"]
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main() -> None:
    """Watch the working directory."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    root, changes, stop = Path.cwd().resolve(), Changes(), threading.Event()
    watching = Watch(root)
    watching.listen(changes, stop)
    typer.echo("watch    waiting for changes; Ctrl-C ends")
    try:
        while True:
            watching.carry_out(_next(changes))
    except KeyboardInterrupt:
        typer.echo("\nwatch    ended")
    finally:
        stop.set()


main()
