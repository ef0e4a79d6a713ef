"""The version this process answers with, and its atomic swap."""

from boucle.artifacts import ModelVersion
from boucle.errors import ModelNotFound


class LiveModel:
    """Holds the version in service.

    Readers take ``current`` once and need no lock: replacing the reference is one store, so a request sees the old
    version or the new one, never a mixture. The old one is freed when the last request that holds it ends.
    """

    def __init__(self) -> None:
        self._current: ModelVersion | None = None
        self.trouble: str | None = None

    @property
    def current(self) -> ModelVersion:
        """The version in service.

        Raises:
            ModelNotFound: before the first one was loaded.
        """
        if self._current is None:
            raise ModelNotFound(self.trouble or "no model is loaded yet; run make train")
        return self._current

    @property
    def is_ready(self) -> bool:
        return self._current is not None

    def swap(self, version: ModelVersion) -> None:
        """Answer with ``version`` from the next request on."""
        self._current = version
        self.trouble = None
