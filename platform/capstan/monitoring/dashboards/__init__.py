"""Grafana dashboards of Capstan's metrics: what is drawn in `panels`, how Grafana reads it in `grafana`."""
