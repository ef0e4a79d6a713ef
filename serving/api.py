"""`create_app()`: the one place where serving's parts are put together."""

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_swagger import patch_fastapi
from starlette.concurrency import run_in_threadpool
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from boucle.artifacts import Artifacts
from boucle.config import Places, load_project
from boucle.store import open_store
from serving import hot, hot_batch, hot_feedback, metrics, openapi, problems
from serving.committer import Committer
from serving.finder import Finder
from serving.hot import HotApp, HotPath
from serving.hot_batch import HotBatch
from serving.hot_feedback import HotFeedback
from serving.journal import Journal
from serving.live import LiveModel
from serving.middleware import Identified, Limited, Measured
from serving.parts import Parts
from serving.routes import explain, feedback, health, models, monitoring, predict, retrain
from serving.settings import Settings
from serving.watcher import Watcher

SETTLE_SECONDS = 0.1
WEIGH_EVERY = 10  # times that it settles: once a second


def create_app(settings: Settings | None = None, places: Places | None = None) -> FastAPI:
    """The API of one worker process; what is not given is read from the environment."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings, places = settings or Settings(), places or Places()
    project = load_project(places.project)
    store = open_store(places.database, places.data, project.feedback.k)
    artifacts, live, tally = Artifacts(places.artifacts), LiveModel(), metrics.Tally()
    journal = Journal(store.predictions, settings.journal_capacity)
    watcher = Watcher(artifacts, store, live, journal, settings.watch_seconds)
    committer = Committer(store.feedback, live, watcher)
    finder = Finder(store.predictions)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        metrics.forget_dead_workers()
        await run_in_threadpool(watcher.start)
        journal.start()
        committer.start()
        finder.start()
        settling = asyncio.create_task(settle(tally, journal))
        yield
        settling.cancel()
        tally.settle()
        await run_in_threadpool(finder.stop)
        await run_in_threadpool(committer.stop)
        await run_in_threadpool(watcher.stop)
        await run_in_threadpool(journal.stop)
        metrics.forget_this_worker()

    # The documentation page comes from a package: FastAPI's own loads its scripts from the internet.
    app = HotApp(
        title=project.project.name,
        version="0.1.0",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
    )
    app.state.parts = Parts(project, places.data, artifacts, store, live, journal, watcher, tally, committer, finder)
    for routes in (predict, explain, feedback, retrain, models, monitoring, health):
        app.include_router(routes.router)
    problems.install(app)
    openapi.install(app, live)
    patch_fastapi(app)
    # The last one added is the outermost.
    app.add_middleware(Limited, body_bytes=project.limits.body_bytes, batch_bytes=project.limits.batch_bytes)
    app.add_middleware(Measured)
    app.add_middleware(Identified)
    app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=settings.forwarded_allow_ips)
    limit = project.limits.body_bytes
    app.hot = {
        hot.PATH: HotPath(app, live, tally, limit),
        hot_batch.PATH: HotBatch(app, live, journal, limit),
        hot_feedback.PATH: HotFeedback(app, live, tally, finder, committer, limit),
    }
    return app


async def settle(tally: metrics.Tally, journal: Journal) -> None:
    """Settle the tally again and again: the other workers' scrapes show what it brought to Prometheus."""
    for number in itertools.count():
        if number % WEIGH_EVERY == 0:
            metrics.weigh()
        metrics.JOURNAL_QUEUE.set(journal.waiting)  # not by the journal: it may be held up, and the queue grow
        await asyncio.sleep(SETTLE_SECONDS)
        tally.settle()
