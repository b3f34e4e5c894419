"""Links from the page to other programs, where their public addresses are set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from capstan.cluster.names import SystemNames
from capstan.dashboard.links import kfp_run, kfp_runs, mlflow_model, mlflow_run, prometheus_requests
from capstan.dashboard.observation import ObservedRun
from capstan.dashboard.page import LinkShown
from capstan.domain.versions import RunName


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
        found.append(mlflow_model(addresses.mlflow, names.registry_model))
    if addresses.prometheus:
        selector = f'namespace="{names.namespace}",system="{names.system}"'
        found.append(prometheus_requests(addresses.prometheus, selector))
    if addresses.kfp:
        found.append(kfp_runs(addresses.kfp))
    return found


def links_of_run(
    addresses: PublicAddresses, run: ObservedRun, mlflow_pages: Mapping[RunName, str]
) -> Sequence[LinkShown]:
    """To the pages of one run; a run that MLflow or the runner does not keep has no link there."""
    found = []
    told = run.state.result
    if addresses.kfp and told is not None and told.runner_id:
        found.append(kfp_run(addresses.kfp, told.runner_id))
    if addresses.mlflow and run.request.run in mlflow_pages:
        found.append(mlflow_run(addresses.mlflow, mlflow_pages[run.request.run]))
    return found
