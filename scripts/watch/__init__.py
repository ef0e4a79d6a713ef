"""`make watch`: what a changed file makes stale is done again, and nothing else."""
