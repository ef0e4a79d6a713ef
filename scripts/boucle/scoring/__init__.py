"""A table in, the same table with predictions out: CSV, Parquet or SQL, part by part, resumable."""

from boucle.scoring.session import Job, Summary, score
from boucle.scoring.sinks import sink_of
from boucle.scoring.sources import source_of

__all__ = ["Job", "Summary", "score", "sink_of", "source_of"]
