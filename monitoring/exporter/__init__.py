"""Numbers about the model and the loop for Prometheus; it is also who looks: it makes the observations."""
