"""What runs a system's versions in a cluster, and how it is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from capstan.adapters.kube_client import Kube, Object
from capstan.adapters.kube_serving import Artifact, DeploymentServing, VersionObjects
from capstan.adapters.seldon_serving import ID_LABEL, KIND, SeldonServing
from capstan.cluster.names import MODEL_PORT, VERSION_LABEL, Owner, SystemNames
from capstan.cluster.objects.model import model
from capstan.cluster.objects.seldon import node_of, seldon
from capstan.cluster.settings import ClusterSettings
from capstan.domain.versions import VersionName
from capstan.errors import InvalidSpecError, Mistake
from capstan.spec.system import MLSystem

Runtime = Literal["Seldon", "Deployment"]


def runtime_of(system: MLSystem, *, has_seldon: bool, running: Runtime | None) -> Runtime:
    """What runs the system's versions; Automatic is Seldon where it is installed, unless versions run without it.

    `running`: what runs them now; None: nothing does. Raises InvalidSpecError for what the cluster does not have, and
    for a change while versions run: traffic would go to the old ones for ever.
    """
    wanted = system.spec.serving.runtime
    if wanted == "Automatic":
        return running or ("Seldon" if has_seldon else "Deployment")
    if wanted == "Seldon" and not has_seldon:
        rule = "is not installed in this cluster; install Seldon Core v1, or write runtime: Deployment"
        raise InvalidSpecError([Mistake("spec.serving.runtime", f"'Seldon' {rule}")])
    if running is not None and running != wanted:
        rule = f"cannot take over from {running} while versions run; keep it, or delete the system and apply it again"
        raise InvalidSpecError([Mistake("spec.serving.runtime", f"'{wanted}' {rule}")])
    return wanted


def running_runtime(deployments: Sequence[Object]) -> Runtime | None:
    """What the Deployments of a system's versions were made by."""
    for deployment in deployments:
        return "Seldon" if ID_LABEL in deployment["metadata"].get("labels", {}) else "Deployment"
    return None


def serving_of(
    kube: Kube, system: MLSystem, names: SystemNames, settings: ClusterSettings, owner: Owner | None
) -> DeploymentServing | SeldonServing:
    """The Serving port of the system; raises InvalidSpecError as `runtime_of`."""
    labels = names.selector("model")
    runtime = runtime_of(
        system,
        has_seldon=kube.serves(KIND),
        running=running_runtime(kube.list("Deployment", names.namespace, labels=labels)),
    )
    render = seldon if runtime == "Seldon" else model

    def rendered(version: VersionName, artifact: Artifact) -> Sequence[Object]:
        return render(system, names, settings, owner, version, artifact)

    objects = VersionObjects(names.namespace, labels, VERSION_LABEL, names.model, rendered, MODEL_PORT)
    return (
        SeldonServing(kube, objects, node_of(names))
        if runtime == "Seldon"
        else DeploymentServing(kube, objects)
    )
