"""What a route may use: the parts that `create_app` put together."""

from dataclasses import dataclass, field
from typing import Annotated

from anyio import CapacityLimiter
from fastapi import Depends, Request

from boucle.artifacts import Artifacts
from boucle.config import Project
from boucle.store import Store
from serving.journal import Journal
from serving.live import LiveModel
from serving.metrics import Tally
from serving.watcher import Watcher


@dataclass(frozen=True)
class Parts:
    """One process's parts."""

    project: Project
    artifacts: Artifacts
    store: Store
    live: LiveModel
    journal: Journal
    watcher: Watcher
    tally: Tally
    # Threads of their own for what waits for the store: when it hangs, predictions must still find one.
    store_threads: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(20))


async def _of_app(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


UsedParts = Annotated[Parts, Depends(_of_app)]
