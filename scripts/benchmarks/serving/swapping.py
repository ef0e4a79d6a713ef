"""`python -m scripts.benchmarks.serving.swapping WHERE`: promotes v2, then v1, and so on, until it is told to end.

WHERE is an API, or a folder of artifacts, where the trainer promotes. A process of its own: in that of the load
generator it would hold up what is measured.
"""

import sys
import time
from itertools import cycle
from pathlib import Path

import requests

from boucle.artifacts import Artifacts

EVERY_SECONDS = 0.5
WHY = {"reason": "for the benchmark", "actor": "benchmark"}


def main(where: str) -> None:
    """Swap; a refusal ends it, with what was said."""
    artifacts, session = Artifacts(Path(where)), requests.Session()
    for version in cycle(("v2", "v1")):
        time.sleep(EVERY_SECONDS)
        if where.startswith("http"):
            answer = session.post(f"{where}/models/{version}/promote", json=WHY, timeout=30)
            if not answer.ok:
                sys.exit(f"a promotion was refused: {answer.text}")
        else:
            artifacts.promote(version, artifacts.champion_version(), **WHY)


if __name__ == "__main__":
    main(sys.argv[1])
