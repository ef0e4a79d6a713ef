"""Answer Prometheus: `python -m monitoring.exporter`."""

import logging
import signal
import sys
import threading

from prometheus_client import CollectorRegistry, start_http_server

from boucle.artifacts import Artifacts
from boucle.config import Places, load_project
from boucle.errors import BoucleError
from boucle.monitoring.observer import Observer
from boucle.store import open_store
from monitoring.exporter.metrics import LoopCollector
from monitoring.exporter.parts import Parts
from monitoring.exporter.settings import Settings
from monitoring.exporter.watch import Watch


def main() -> None:
    """Serve the numbers until a signal."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings, places = Settings(), Places()
    try:
        project = load_project(places.project)
    except BoucleError as error:
        sys.exit(str(error))
    store = open_store(places.database, places.data, project.feedback.k)
    artifacts, registry = Artifacts(places.artifacts), CollectorRegistry()
    watch = Watch(Observer(project, places.data, artifacts, store), artifacts, settings.interval_seconds)
    parts = Parts({part: str(url) for part, url in settings.parts.items()}, settings.interval_seconds)
    registry.register(LoopCollector(store, artifacts, places.data, watch, parts))
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    watch.start()
    parts.start()
    server, _ = start_http_server(settings.port, settings.host, registry)
    stopping.wait()
    watch.stop()
    parts.stop()
    server.shutdown()


if __name__ == "__main__":
    main()
