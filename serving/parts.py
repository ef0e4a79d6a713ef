"""What a route may use: the parts that `create_app` put together."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from boucle.artifacts import Artifacts
from boucle.config import Project
from boucle.store import Store
from serving.committer import Committer
from serving.finder import Finder
from serving.journal import Journal
from serving.live import LiveModel
from serving.metrics import Tally
from serving.watcher import Watcher


@dataclass(frozen=True)
class Parts:
    """One process's parts."""

    project: Project
    data: Path
    artifacts: Artifacts
    store: Store
    live: LiveModel
    journal: Journal
    watcher: Watcher
    tally: Tally
    committer: Committer
    finder: Finder


async def _of_app(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


UsedParts = Annotated[Parts, Depends(_of_app)]
