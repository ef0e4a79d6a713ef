"""The stack as plain processes on one machine: are its ports free, does every part answer."""

import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from boucle.errors import BoucleError

Port = Annotated[int, Field(ge=1, le=65535)]


class NotFree(BoucleError):
    """A port of the stack is in use."""


class NotReady(BoucleError):
    """A part of the stack does not answer."""


class Ports(BaseSettings):
    """Where each part listens: `SERVING_PORT=9080 make run` moves one."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True)

    serving_port: Port = 8080
    webapp_port: Port = 8081
    reporting_port: Port = 8082
    exporter_port: Port = 8083
    mlflow_port: Port = 5000

    @property
    def parts(self) -> dict[str, tuple[int, str]]:
        """Port and health path of each part by name."""
        return {
            "webapp": (self.webapp_port, "/_stcore/health"),
            "serving": (self.serving_port, "/readyz"),
            "reporting": (self.reporting_port, "/api/version"),
            "exporter": (self.exporter_port, "/metrics"),
            "mlflow": (self.mlflow_port, "/health"),
        }

    @property
    def urls(self) -> dict[str, str]:
        """What a person opens in the browser, by what it shows."""
        return {
            "webapp": f"http://localhost:{self.webapp_port}",
            "API": f"http://localhost:{self.serving_port}/docs",
            "reports": f"http://localhost:{self.reporting_port}",
            "MLflow": f"http://localhost:{self.mlflow_port}/#/experiments",
            "metrics": f"http://localhost:{self.exporter_port}/metrics",
        }


def check_ports(ports: Ports) -> None:
    """Nothing, if every port of the stack is free.

    Raises:
        NotFree: naming each port in use, and how to choose another.
    """
    taken = [
        f"port {port} ({name}) is in use: stop what listens there, or choose another: {name.upper()}_PORT=… make run"
        for name, (port, _) in ports.parts.items()
        if not _is_free(port)
    ]
    if taken:
        raise NotFree("\n".join(taken))


def wait_until_ready(ports: Ports, seconds: float, report: Callable[[str], None]) -> None:
    """Return when every part answers its health path; ``report`` hears of each.

    Raises:
        NotReady: naming the parts that did not answer in time.
    """
    deadline = time.monotonic() + seconds
    waiting = dict(ports.parts)
    while waiting:
        for name, (port, path) in list(waiting.items()):
            if _answers(f"http://127.0.0.1:{port}{path}"):
                del waiting[name]
                report(f"{name} answers" + (f"; waiting for {', '.join(waiting)}" if waiting else ""))
        if waiting and time.monotonic() > deadline:
            raise NotReady(f"{', '.join(waiting)} did not answer within {seconds:g} seconds; the log above may say why")
        time.sleep(0.3)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a port whose last connections are still closing is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    with socket.socket() as probe:
        # A server on all addresses does not always hinder the bind above.
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310  # our own URLs, of this machine
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
