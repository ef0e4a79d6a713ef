"""Naive with feedback as durable as Boucle's: each row is in the CSV, committed and synced before its answer."""

import json
import os
import sqlite3
import threading
from pathlib import Path
from typing import Any

from naive import Row, app, columns
from pydantic import BaseModel

folder = Path(os.environ["BENCH_DATA"])
database = sqlite3.connect(folder / "naive.db", isolation_level=None, check_same_thread=False)
database.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")  # WAL: a commit costs one fsync
database.execute("CREATE TABLE feedback (row INTEGER PRIMARY KEY, input TEXT, prediction TEXT, target TEXT)")
table = (folder / "naive.csv").open("w")
table.write(",".join([*columns, "prediction", "target"]) + "\n")
writing = threading.Lock()


class Feedback(BaseModel):
    """A datum, what was predicted for it, and the truth."""

    data: Row
    prediction: str
    target: str


@app.post("/feedback", status_code=201)
def feedback(given: Feedback) -> dict[str, Any]:
    """The number of the row."""
    values = list(given.data.model_dump().values())
    with writing:
        row = json.dumps(values), given.prediction, given.target
        number = database.execute("INSERT INTO feedback VALUES (NULL, ?, ?, ?)", row).lastrowid
        table.write(",".join(map(str, [*values, given.prediction, given.target])) + "\n")
        table.flush()
    return {"row": number}
