"""Evidently's UI as a process of its own, which ends with the process that started it."""

import gc
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path


def start_ui(workspace: Path, host: str, port: int) -> subprocess.Popen[bytes]:
    """Start the UI; it answers some seconds later, and ends when this process does, even by SIGKILL."""
    return subprocess.Popen(  # noqa: S603 (no shell; its arguments are our own settings)
        [sys.executable, "-m", "reporting.ui", str(workspace), host, str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        # GIT_COMMIT: else it asks git at every health check, and git complains in the log.
        env={**os.environ, "DO_NOT_TRACK": "true", "GIT_COMMIT": "unknown"},
    )


def stop_ui(ui: subprocess.Popen[bytes], patience_seconds: float = 3) -> None:
    """End the UI, politely first."""
    ui.terminate()
    try:
        ui.wait(patience_seconds)
    except subprocess.TimeoutExpired:
        ui.kill()
        ui.wait()


def serve(workspace: str, host: str, port: int) -> None:
    """Answer until a signal."""
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    # Only now: they take seconds to load, in which the parent may already end.
    import uvicorn
    from evidently.ui.service.app import create_app, get_config

    # A full collection walks every report that is held, a second for a thousand of them; few of their objects ever die.
    gc.set_threshold(10_000, 50, 1_000)
    app = create_app(get_config(host=host, port=port, workspace=workspace))
    uvicorn.run(app, host=host, port=port, log_level="warning")


def _end_with_the_parent() -> None:
    # Nobody writes to this pipe: reading returns when the other end is gone.
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))
