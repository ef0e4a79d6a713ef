"""Start the API: `python -m serving`."""

import logging
import os
import sys
import tempfile

import uvicorn

from boucle.config import Places, load_project
from boucle.errors import BoucleError
from boucle.store import open_store
from serving.settings import Settings
from serving.stopping import PatientProtocol, Workers

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
    with tempfile.TemporaryDirectory(prefix="boucle-metrics-") as folder:
        # Workers share their metrics through this folder; prometheus_client reads the variable when it is imported.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        config = uvicorn.Config(
            "serving.api:create_app",
            factory=True,
            host=settings.host,
            port=settings.port,
            workers=settings.workers,
            http=PatientProtocol,
            timeout_graceful_shutdown=settings.drain_seconds,
            log_level="warning",
            access_log=False,
        )
        Workers(config, [config.bind_socket()]).run()


if __name__ == "__main__":
    main()
