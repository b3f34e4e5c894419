"""Which runner trains a system in a cluster, and how it is made."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from capstan.adapters.kubeflow.api import KfpApi
from capstan.adapters.kubeflow.compile import StepSettings, compile_pipeline
from capstan.adapters.kubeflow.server import KfpServerPipelines
from capstan.adapters.kubernetes.jobs import JobPipelines
from capstan.artifacts.store import ArtifactStore
from capstan.cluster.names import DATA_MOUNT, SECRETS_MOUNT, Owner, SystemNames
from capstan.cluster.objects.artifacts import artifacts_place
from capstan.cluster.objects.pods import TMP_MOUNT, USER
from capstan.cluster.objects.secrets import data_secrets
from capstan.cluster.objects.training import (
    data_claim_name,
    run_objects,
    training_places,
    training_requests,
    training_variables,
)
from capstan.cluster.settings import ClusterSettings
from capstan.domain.versions import RunName
from capstan.errors import InvalidSpecError, Mistake
from capstan.ports.kube import Kube, Object
from capstan.ports.registry import Registry
from capstan.spec.system import MLSystem

Runner = Literal["Job", "KubeflowPipelines"]


def runner_of(system: MLSystem, settings: ClusterSettings) -> Runner:
    """What trains the system; Automatic is Kubeflow Pipelines where the operator is told of one, else a Job.

    Raises InvalidSpecError where the file asks for what the operator was not told of.
    """
    wanted = system.spec.training.runner
    if wanted == "Automatic":
        return "KubeflowPipelines" if settings.kfp_url and settings.artifacts else "Job"
    if wanted == "KubeflowPipelines":
        known = {"kfp_url": settings.kfp_url, "artifacts": settings.artifacts}
        missing = [name for name, value in known.items() if not value]
        if missing:
            raise InvalidSpecError(
                [
                    Mistake(
                        "spec.training.runner",
                        f"'KubeflowPipelines' needs {' and '.join(missing)} in the operator's settings: the address of "
                        "its API, and object storage, since its steps share no volume; set them in the chart, or write "
                        "runner: Job",
                    )
                ]
            )
    return wanted


def pipelines_of(
    system: MLSystem,
    names: SystemNames,
    settings: ClusterSettings,
    owner: Owner | None,
    kube: Kube,
    registry: Registry,
) -> JobPipelines | KfpServerPipelines:
    """The system's Pipelines; raises InvalidSpecError as `runner_of` does."""
    if runner_of(system, settings) == "KubeflowPipelines":
        return _on_kfp(system, names, settings, kube, registry)

    def render(spec: MLSystem, run: RunName, files: Mapping[str, str]) -> tuple[Object, Object]:
        return run_objects(spec, names, settings, owner, run, files)

    return JobPipelines(
        system,
        kube,
        registry,
        namespace=names.namespace,
        places=training_places(names, settings),
        render=render,
        # The operator cannot read a store on a volume, which is not mounted into it.
        store=ArtifactStore(artifacts_place(names, settings).uri) if settings.artifacts else None,
    )


def step_settings(system: MLSystem, names: SystemNames, settings: ClusterSettings) -> StepSettings:
    """What each step of the system's pipeline gets on a KFP server."""
    wanted, images = system.spec.training, settings.images
    amounts = training_requests(system)
    plain = {one.name: one.value or "" for one in wanted.environment if one.value_from is None}
    confidential = {
        one.name: (str(one.value_from.secret_key_ref.name), one.value_from.secret_key_ref.key)
        for one in wanted.environment
        if one.value_from is not None
    }
    return StepSettings(
        image=images.python,
        pull_policy=images.pull_policy,
        pull_secrets=images.pull_secrets,
        labels=names.labels("training"),
        user=USER,
        data_claim=data_claim_name(system, names),
        data_mount=DATA_MOUNT,
        secrets=data_secrets(system),
        secrets_mount=SECRETS_MOUNT,
        artifact_keys=artifacts_place(names, settings).keys or "",
        requests=amounts.get("requests", {}),
        limits=amounts.get("limits", {}),
        node_selector=dict(wanted.node_selector),
        variables={**plain, **training_variables(system, work=TMP_MOUNT)},
        secret_variables=confidential,
    )


def _on_kfp(
    system: MLSystem, names: SystemNames, settings: ClusterSettings, kube: Kube, registry: Registry
) -> KfpServerPipelines:
    uri = artifacts_place(names, settings).uri
    return KfpServerPipelines(
        system,
        _api(settings.kfp_url, settings.kfp_token),
        registry,
        ArtifactStore(uri),
        name=names.registry_model,
        namespace=names.namespace,
        places=training_places(names, settings, work=TMP_MOUNT),
        # KFP's launcher has endpoint and keys from its own configuration.
        address=uri.partition("?")[0],
        settings=lambda spec: step_settings(spec, names, settings),
        compiled=lambda steps: compile_pipeline(steps, _COMPILED),
        kube=kube,
    )


_COMPILED = Path(tempfile.gettempdir()) / "capstan-pipelines"


@functools.cache
def _api(url: str, token: Path | None) -> KfpApi:
    """One connection for all systems."""
    return KfpApi(url, token=token)
