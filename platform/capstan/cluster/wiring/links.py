"""Links from the page to other programs, where their public addresses are set."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote, urlencode

from pydantic import BaseModel, ConfigDict

from capstan.cluster.names import SystemNames
from capstan.dashboard.page import LinkShown


class PublicAddresses(BaseModel):
    """Where people reach other programs with their browsers; empty: the page does not link there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mlflow: str = ""
    prometheus: str = ""
    kfp: str = ""


def links_of(addresses: PublicAddresses, names: SystemNames) -> Sequence[LinkShown]:
    """One link for each program whose address is set."""
    found = []
    if addresses.mlflow:
        base = addresses.mlflow.rstrip("/")
        found.append(LinkShown("MLflow", f"{base}/#/models/{quote(names.registry_model, safe='')}"))
    if addresses.prometheus:
        selector = f'namespace="{names.namespace}",system="{names.system}"'
        asked = {
            "g0.expr": f"sum by (version,role) (rate(capstan_requests_total{{{selector}}}[5m]))",
            "g0.tab": "0",
        }
        found.append(LinkShown("Prometheus", f"{addresses.prometheus.rstrip('/')}/graph?{urlencode(asked)}"))
    if addresses.kfp:
        found.append(LinkShown("Kubeflow Pipelines", f"{addresses.kfp.rstrip('/')}/#/runs"))
    return found
