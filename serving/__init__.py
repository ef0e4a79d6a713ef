"""The HTTP API in front of the champion: predict, feedback, retrain, models."""
