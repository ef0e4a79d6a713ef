"""Run the steps of a pipeline, which are make targets, and keep what became of each."""
