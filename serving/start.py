"""Starts the workers of the API, and ends them."""

import ctypes
import gc
import importlib
import logging
import multiprocessing
import os
import sys
import tempfile

import uvicorn
from uvicorn import _subprocess

from boucle.config import Places, load_project
from boucle.errors import BoucleError
from boucle.store import open_store
from serving.settings import Settings
from serving.stopping import Workers

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 4_000_000
GARBAGE = 20_000  # objects made and not yet freed

log = logging.getLogger("serving")


def main() -> None:
    """Check prod_data.csv once, then run the workers until a signal ends them."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings, places = Settings(), Places()
    try:
        project = load_project(places.project)
        store = open_store(places.database, places.data, project.feedback.k)
    except BoucleError as error:
        sys.exit(str(error))
    if store.feedback.repair_projection():
        log.warning("prod_data.csv differed from the feedback table and was rebuilt")
    store.close()
    with tempfile.TemporaryDirectory(prefix="boucle-metrics-") as folder:
        # Workers share their metrics through this folder; prometheus_client reads the variable when it is imported.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        config = uvicorn.Config(
            "serving.api:create_app",
            factory=True,
            host=settings.host,
            port=settings.port,
            workers=settings.workers,
            http="serving.hot_protocol:HotProtocol",  # by name: it imports the metrics, in the worker
            proxy_headers=False,  # the application looks at them itself, where they matter
            timeout_graceful_shutdown=settings.drain_seconds,
            log_level="warning",
            access_log=False,
        )
        _preload()
        Workers(config, [config.bind_socket()]).run()


def _preload() -> None:
    """Import the application once, for all workers: they start as copies of this process and share its memory."""
    importlib.import_module("serving.api")
    # uvicorn has no setting for it; its own way, a fresh interpreter a worker, imports everything again in each.
    _subprocess.spawn = multiprocessing.get_context("fork")  # type: ignore[assignment]
    # Answers make no cycles: looking at every row of a batch for some took a twentieth of its time.
    gc.set_threshold(GARBAGE, *gc.get_threshold()[1:])
    gc.enable()
    _keep_memory()
    gc.freeze()  # else the first collection in a worker would write to every object, and so copy its page


def _keep_memory() -> None:
    """Let glibc keep what one batch needed for the next: given back and asked for again, it costs a tenth of each."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)  # set one, and glibc no longer adapts the other
