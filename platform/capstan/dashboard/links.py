"""Links from the page to other programs, where their addresses are known."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from capstan.dashboard.page import LinkShown


def mlflow_model(base: str, model: str) -> LinkShown:
    """The registered model with all its versions."""
    return LinkShown("MLflow", f"{base.rstrip('/')}/#/models/{quote(model, safe='')}")


def mlflow_run(base: str, path: str) -> LinkShown:
    """One run: its parameters, metrics and artifacts."""
    return LinkShown("MLflow", f"{base.rstrip('/')}/{path}")


def kfp_runs(base: str) -> LinkShown:
    return LinkShown("Kubeflow Pipelines", f"{base.rstrip('/')}/#/runs")


def kfp_run(base: str, run_id: str) -> LinkShown:
    """One run with its graph and the logs of its steps."""
    return LinkShown("Kubeflow Pipelines", f"{base.rstrip('/')}/#/runs/details/{quote(run_id, safe='')}")


def prometheus_requests(base: str, selector: str) -> LinkShown:
    """The graph of requests by version and role."""
    asked = {
        "g0.expr": f"sum by (version,role) (rate(capstan_requests_total{{{selector}}}[5m]))",
        "g0.tab": "0",
    }
    return LinkShown("Prometheus", f"{base.rstrip('/')}/graph?{urlencode(asked)}")
