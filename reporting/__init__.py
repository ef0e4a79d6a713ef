"""Evidently's workspace and UI: production data against the reference, and how well the model predicts."""
