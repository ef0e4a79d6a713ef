"""Grafana's dashboards as code: `make dashboards` writes monitoring/grafana/dashboards/*.json."""
