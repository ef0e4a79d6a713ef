"""The version this process answers with, and its atomic swap."""

from boucle.artifacts import ServedVersion
from boucle.errors import ModelNotFound
from serving.predictor import Predictor


class LiveModel:
    """Holds the version in service.

    Readers take ``current`` once and need no lock: replacing the reference is one store, so a request sees the old
    version or the new one, never a mixture. The old one is freed when the last request that holds it ends.
    """

    def __init__(self) -> None:
        self.predictor: Predictor | None = None
        self.trouble: str | None = None

    @property
    def current(self) -> Predictor:
        """What answers with the version in service.

        Raises:
            ModelNotFound: before the first one was loaded.
        """
        if self.predictor is None:
            raise ModelNotFound(self.trouble or "no model is loaded yet; run make train")
        return self.predictor

    @property
    def is_ready(self) -> bool:
        return self.predictor is not None

    @property
    def version(self) -> ServedVersion:
        """The version in service; raises as `current` does."""
        return self.current.version

    def swap(self, predictor: Predictor) -> None:
        """Answer with ``predictor`` from the next request on."""
        self.predictor = predictor
        self.trouble = None
