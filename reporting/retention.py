"""What is kept of old reports: all numbers for a long time, the plots of the newest."""

# mypy: disable-error-code="misc"
# evidently ships no py.typed, so that its classes are Any.

import json
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from evidently.core.report import Snapshot
from evidently.ui.workspace import Workspace
from uuid6 import uuid7


def write(workspace: Workspace, project: UUID, snapshot: Snapshot) -> None:
    """Add the snapshot to the project, each plot once: Evidently's own `add_run` stores two of everything.

    A report on 30 columns is then 1 MB instead of 2; in memory each process that reads it needs five times as much.
    """
    model = snapshot.to_snapshot_model()
    for result in model.metric_results.values():
        result.widget = []  # the same as in model.widgets, which the UI shows
    workspace.state.write_snapshot(project, uuid7(), model)


class Retention:
    """Forgets snapshots but for the newest ``keep`` of ``keep_days``, and plots but for the newest ``keep_plots``.

    The UI holds every snapshot in memory: 200 of them with plots took 2 GB.
    """

    def __init__(self, workspace: Workspace, project: UUID, *, keep: int, keep_days: int, keep_plots: int) -> None:
        self._workspace = workspace
        self._project = project
        self._keep = keep
        self._keep_days = keep_days
        self._keep_plots = keep_plots
        self._without_plots: set[UUID] = set()

    def forget(self, now: datetime) -> None:
        """Forget what is too old by now."""
        # Identifiers are UUIDv7: their order is the order of time, and they tell it.
        snapshots = sorted(self._workspace.list_runs(self._project))
        oldest = (now - timedelta(days=self._keep_days)).timestamp() * 1000
        kept = [snapshot for snapshot in snapshots[-self._keep :] if snapshot.int >> 80 >= oldest]
        for snapshot in set(snapshots) - set(kept):
            self._workspace.delete_run(self._project, snapshot)
        aged = set(kept[: -self._keep_plots])
        for snapshot in aged - self._without_plots:
            self._forget_plots(snapshot)
        self._without_plots = aged

    def _forget_plots(self, snapshot: UUID) -> None:
        path = f"{self._project}/snapshots/{snapshot}.json"
        with self._workspace.state.location.open(path) as file:
            content = json.load(file)
        if take_plots_out(content):
            with self._workspace.state.location.open(path, "w") as file:
                json.dump(content, file)


def take_plots_out(content: dict[str, Any]) -> bool:
    """Take what the rows of tables unfold to out of a snapshot; whether there was anything."""
    tables = [widget for widget in content["widgets"] if widget.get("additionalGraphs")]
    for table in tables:
        table["additionalGraphs"] = []
        for row in table["params"]["data"]:
            row.pop("details", None)
    return bool(tables)
