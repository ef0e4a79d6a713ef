"""Save a pipeline as MLflow keeps models: `python save_for_mlflow.py PIPELINE COLUMNS FOLDER`."""

import json
import sys
from pathlib import Path

import joblib
import mlflow.sklearn
import numpy as np
import pandas as pd
from mlflow.models import infer_signature

pipeline_file, columns_file, folder = map(Path, sys.argv[1:])
pipeline = joblib.load(pipeline_file)
columns = json.loads(columns_file.read_text())
rows = pd.DataFrame(np.zeros((1, len(columns))), columns=columns)
signature = infer_signature(rows, pipeline.predict(rows.to_numpy()))
mlflow.sklearn.save_model(pipeline, str(folder), signature=signature, serialization_format="cloudpickle")
