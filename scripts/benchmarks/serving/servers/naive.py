"""What a course project writes: FastAPI, named fields in a pydantic model, `pipeline.predict` in a plain function."""

import json
import os
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel, Field, create_model

columns = json.loads(Path(os.environ["BENCH_COLUMNS"]).read_text())
pipeline = joblib.load(os.environ["BENCH_PIPELINE"])
fields: dict[str, Any] = {f"x{i}": (float, Field(alias=column)) for i, column in enumerate(columns)}
Row: Any = create_model("Row", **fields)
app = FastAPI()


def matrix(rows: list[BaseModel]) -> np.ndarray:
    """One line of numbers a row."""
    return np.array([[getattr(row, name) for name in fields] for row in rows])


@app.post("/predict")
def predict(row: Row) -> dict[str, int]:
    """The class of one row."""
    return {"prediction": int(pipeline.predict(matrix([row]))[0])}


@app.post("/predict/batch")
def predict_batch(rows: list[Row]) -> dict[str, list[int]]:
    """The class of each row."""
    return {"predictions": pipeline.predict(matrix(rows)).tolist()}
