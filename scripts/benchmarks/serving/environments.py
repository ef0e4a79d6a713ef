"""The other tools, each in an environment of its own: their dependencies exclude each other."""

import hashlib
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements")
INSTALL_SECONDS = 900


class NotInstalled(Exception):
    """The tool's environment could not be made; the message says why."""


def install(name: str, folder: Path) -> Path:
    """The programs of ``name``'s environment, which is made anew when its requirements have changed.

    Raises:
        NotInstalled: with the last words of the installer.
    """
    requirements = REQUIREMENTS / f"{name}.txt"
    home, wanted = folder / name, hashlib.sha256(requirements.read_bytes()).hexdigest()
    done = home / "installed"
    if not done.exists() or done.read_text() != wanted:
        shutil.rmtree(home, ignore_errors=True)
        _uv("venv", "--python", sys.executable, str(home))
        _uv("pip", "install", "--compile-bytecode", "--python", str(home), "--requirements", str(requirements))
        done.write_text(wanted)
    return home / "bin"


def packages(home: Path) -> list[str]:
    """Every package of an environment, with its version; none where it was not made, or uv cannot tell."""
    with suppress(NotInstalled):  # half an hour of measurements must not be lost for a list
        return _uv("pip", "freeze", "--python", str(home)).splitlines() if home.exists() else []
    return []


def _uv(*arguments: str) -> str:
    command = ["uv", "--quiet", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=INSTALL_SECONDS)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        raise NotInstalled(" ".join(str(said).split())[-300:]) from error
    return done.stdout
