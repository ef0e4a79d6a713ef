"""Whether the parts that have no metrics of their own are up: each is asked for its health, as Compose does."""

import http.client
import threading
from collections.abc import Mapping
from urllib.error import URLError
from urllib.request import urlopen

TIMEOUT_SECONDS = 4


class Parts:
    """Asks again and again, in a thread of its own: a part that hangs must delay no observation and no scrape."""

    def __init__(self, urls: Mapping[str, str], interval_seconds: float) -> None:
        """Ask each URL every ``interval_seconds``; what counts is an answer with 200."""
        self.are_up: dict[str, bool] = {}
        self._urls = urls
        self._interval_seconds = interval_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="parts", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """An answer under way is not waited for."""
        self._stopping.set()

    def ask(self) -> None:
        """Ask each part once."""
        for part, url in self._urls.items():
            self.are_up = {**self.are_up, part: _is_up(url)}

    def _run(self) -> None:
        while True:
            self.ask()
            if self._stopping.wait(self._interval_seconds):
                return


def _is_up(url: str) -> bool:
    try:
        with urlopen(url, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310  # an operator's URL
            return bool(answer.status == 200)
    except (URLError, OSError, http.client.HTTPException):
        return False
