"""Wait for changes, carry out their steps, tell how it ended; until Ctrl-C."""

import os
import queue
import signal
import socket
import subprocess
import threading
import tomllib
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

import typer
from watchfiles import watch

from boucle import notifying
from boucle.config import Places, Recipients
from boucle.embedded import Ports
from boucle.errors import BoucleError
from scripts.watch.steps import LEFT_OUT, Data, Step, data_of, in_order, steps_for

# An editor writes a file in several strokes, a checkout writes many.
QUIET_SECONDS = 0.5
PATIENCE_SECONDS = 10.0


class Watch:
    """Carries out steps; those that failed, or did not get their turn, come again with the next change."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._left: set[Step] = set()
        self._changes: queue.SimpleQueue[set[Path]] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._data = Data()
        self.listen()

    def listen(self) -> None:
        """Hear of every change that can matter, from now on; project.toml says where the data are."""
        with suppress(OSError, ValueError):  # while it is being written, what was known stays
            content = tomllib.loads((self._root / Places().project).read_text(encoding="utf-8"))
            self._data = data_of(content, self._root)
        before, self._stop = self._stop, threading.Event()
        # The root without its folders: .venv and data hold ten thousands of files that are no one's business here.
        flat = {self._root, *self._data.flat()}
        for paths, recursive in ((flat, False), ({*self._folders(), *self._data.deep()}, True)):
            if there := sorted(path for path in paths if path.is_dir()):
                hears = threading.Event()
                arguments = (there, recursive, hears, self._stop)
                threading.Thread(target=self._hear, args=arguments, daemon=True).start()
                hears.wait(PATIENCE_SECONDS)
        before.set()

    def stop(self) -> None:
        """Hear of nothing any more."""
        self._stop.set()

    def changed(self) -> set[Path]:
        """The next changes, up to a moment of quiet."""
        changed = self._changes.get()
        while True:
            try:
                changed |= self._changes.get(timeout=QUIET_SECONDS)
            except queue.Empty:
                return changed

    def carry_out(self, changed: Collection[Path]) -> None:
        """Do what the changes ask for, up to the first step that fails, and tell how it ended."""
        if self._root / Places().project in changed:
            self.listen()
        is_reporting = _is_reporting()
        asked = {path: steps_for([path], self._root, self._data, is_reporting=is_reporting) for path in sorted(changed)}
        names = [path.name for path, steps in asked.items() if steps]
        if not names:
            return
        steps = in_order(self._left.union(*asked.values()))
        typer.echo(f"\nwatch    {', '.join(names[:5])} changed: {', '.join(step.name for step in steps)}")
        done = _run_all(steps, self._root)
        self._left = set(steps[done:])
        _tell(steps, done)

    def _folders(self) -> list[Path]:
        inside = (path for path in self._root.iterdir() if path.is_dir())
        return [path for path in inside if not path.name.startswith(".") and path.name not in LEFT_OUT]

    def _hear(self, paths: Sequence[Path], recursive: bool, hears: threading.Event, stop: threading.Event) -> None:
        heard = watch(
            *paths, recursive=recursive, stop_event=stop, raise_interrupt=False, rust_timeout=300, yield_on_timeout=True
        )
        for some in heard:  # nothing, after the timeout: then, at the latest, it is known to hear
            hears.set()
            if some:
                self._changes.put({Path(path) for _, path in some})


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


def _is_reporting() -> bool:
    port, _ = Ports().parts["reporting"]
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main() -> None:
    """Watch the working directory."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    watching = Watch(Path.cwd().resolve())
    typer.echo("watch    waiting for changes; Ctrl-C ends")
    try:
        while True:
            watching.carry_out(watching.changed())
    except KeyboardInterrupt:
        typer.echo("\nwatch    ended")
    finally:
        watching.stop()


main()
