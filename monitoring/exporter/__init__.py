"""Numbers about the loop for Prometheus: feedback, training runs, the champion. It reads and never writes."""
