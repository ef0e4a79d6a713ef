"""MLflow: runs, registered versions, aliases. The record of the loop, never its condition."""

from boucle.tracking.entries import Record
from boucle.tracking.outbox import Outbox
from boucle.tracking.tracker import MLflowTracker, Tracker

__all__ = ["MLflowTracker", "Outbox", "Record", "Tracker"]
