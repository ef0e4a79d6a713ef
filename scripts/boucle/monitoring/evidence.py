"""What a diagnosis needs, read from the store, the artifacts and the preparation."""

from datetime import datetime
from pathlib import Path

from boucle.artifacts import HELD_OUT, Artifacts
from boucle.config import Project
from boucle.contract import Classes
from boucle.errors import CorruptArtifact, ModelNotFound
from boucle.monitoring import windows
from boucle.monitoring.diagnosis import Evidence
from boucle.monitoring.observation import Point
from boucle.monitoring.observe import observe
from boucle.monitoring.windows import Windows
from boucle.store import Store

# So many rows are looked back on for an onset; fewer of a wide table, whose cells cost memory.
MOST_ROWS, MOST_CELLS = 5_000, 2_000_000
MOST_POINTS = 1_000
# Most of them may have been merged into another.
MOST_RUNS, MOST_READ = 8, 100


def gather(project: Project, data: Path, artifacts: Artifacts, store: Store, now: datetime) -> Evidence:
    """The present state, observed anew: the exporter need not run.

    Raises:
        BoucleError: when there is no champion or no preparation.
    """
    champion, version, seed = artifacts.champion(), artifacts.load_served(), project.training.seed
    reference = windows.read_reference(data, version, seed)
    window = project.monitoring.window
    most = max(window, min(MOST_ROWS, MOST_CELLS // len(version.contract.names)))
    rows = windows.read_windows(store, version.contract, most)
    newest = Windows(rows.served[-window:], rows.labelled[-window:])
    seen = observe(now, version.version, reference, newest, project)
    # A metric of probabilities cannot be told of the answers alone.
    usual = "balanced_accuracy" if isinstance(version.contract.target, Classes) else "mae"
    metric = version.manifest.metric if version.manifest.metric in seen.expected else usual
    return Evidence(
        project=project.project.name,
        metric=metric,
        seed=seed,
        champion_since=champion.promoted_at,
        reference=reference,
        rows=rows,
        labelled=newest.labelled,
        observation=seen,
        history=[Point.model_validate_json(point) for point in store.observations.points(MOST_POINTS)],
        runs=[run for run in store.runs.newest(MOST_READ) if run.state != "coalesced"][:MOST_RUNS],
        held_out=_held_out(artifacts, metric, {row.model_version for row in rows.labelled}),
    )


def _held_out(artifacts: Artifacts, metric: str, versions: set[str]) -> dict[str, float]:
    found = {}
    for version in versions:
        try:
            score = artifacts.manifest(version).metrics.get(HELD_OUT, {}).get(metric)
        except (ModelNotFound, CorruptArtifact):
            continue  # pruned, or predicted elsewhere
        if score is not None:
            found[version] = score
    return found
