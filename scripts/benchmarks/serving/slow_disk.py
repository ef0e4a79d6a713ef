"""A disk that takes its time: this machine's may sync in a tenth of a millisecond, a laptop's takes some."""

import subprocess
from dataclasses import replace
from pathlib import Path

from scripts.benchmarks.serving.environments import NotInstalled
from scripts.benchmarks.serving.server import Launch

SOURCE = Path(__file__).with_name("servers") / "slow_sync.c"
SYNC_MILLISECONDS = 4


def on_slow_disk(launch: Launch, folder: Path) -> Launch:
    """The same server on a slow disk; see `environment`."""
    return replace(launch, environment={**launch.environment, **environment(folder)})


def environment(folder: Path) -> dict[str, str]:
    """With it each sync of a process takes `SYNC_MILLISECONDS` longer; the library for it lies in ``folder``.

    Raises:
        NotInstalled: when no C compiler makes it.
    """
    library = folder / "slow_sync.so"
    if not library.exists():
        try:
            command = ["cc", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
            subprocess.run(command, check=True, capture_output=True)  # noqa: S603  # no shell
        except (OSError, subprocess.CalledProcessError) as error:
            raise NotInstalled(f"a C compiler makes the disk slow: {error}") from error
    return {"LD_PRELOAD": str(library), "SYNC_MICROSECONDS": str(1000 * SYNC_MILLISECONDS)}
