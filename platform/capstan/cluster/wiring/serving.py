"""What runs a system's versions in a cluster, and how it is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from capstan.adapters.kubernetes.serving import Artifact, DeploymentServing, VersionObjects, is_of_seldon
from capstan.adapters.seldon.serving import KIND, SeldonServing
from capstan.cluster.moving import MovingServing
from capstan.cluster.names import MODEL_PORT, VERSION_LABEL, Owner, SystemNames
from capstan.cluster.objects.model import model
from capstan.cluster.objects.seldon import node_of, seldon
from capstan.cluster.settings import ClusterSettings
from capstan.domain.versions import VersionName
from capstan.errors import InvalidSpecError, Mistake
from capstan.ports.kube import Kube, Object
from capstan.spec.system import MLSystem

Runtime = Literal["Seldon", "Deployment"]


def runtime_of(system: MLSystem, *, has_seldon: bool, running: Runtime | None) -> Runtime:
    """What runs the system's versions; Automatic is Seldon where it is installed, unless versions run without it.

    `running`: what runs them now; None: nothing does. Raises InvalidSpecError for what the cluster does not have.
    """
    wanted = system.spec.serving.runtime
    if wanted == "Automatic":
        return running or ("Seldon" if has_seldon else "Deployment")
    if wanted == "Seldon" and not has_seldon:
        rule = "is not installed in this cluster; install Seldon Core v1, or write runtime: Deployment"
        raise InvalidSpecError([Mistake("spec.serving.runtime", f"'Seldon' {rule}")])
    return wanted


def running_runtime(deployments: Sequence[Object]) -> Runtime | None:
    """What the Deployments of a system's versions were made by."""
    for deployment in deployments:
        return "Seldon" if is_of_seldon(deployment) else "Deployment"
    return None


def serving_of(
    kube: Kube, system: MLSystem, names: SystemNames, settings: ClusterSettings, owner: Owner | None
) -> DeploymentServing | SeldonServing | MovingServing:
    """The Serving port of the system; one that moves its versions where another runtime still has some.

    Raises InvalidSpecError as `runtime_of`.
    """
    has_seldon = kube.serves(KIND)
    labels = names.selector("model")
    runtime = runtime_of(
        system,
        has_seldon=has_seldon,
        running=running_runtime(kube.list("Deployment", names.namespace, labels=labels)),
    )

    def objects(render: Callable[..., Sequence[Object]]) -> VersionObjects:
        def rendered(version: VersionName, artifact: Artifact) -> Sequence[Object]:
            return render(system, names, settings, owner, version, artifact)

        return VersionObjects(names.namespace, labels, VERSION_LABEL, names.model, rendered, MODEL_PORT)

    plain = DeploymentServing(kube, objects(model))
    if not has_seldon:
        return plain
    by_seldon = SeldonServing(kube, objects(seldon), node_of(names))
    if runtime == "Seldon":
        return MovingServing(by_seldon, plain) if plain.artifacts() else by_seldon
    return MovingServing(plain, by_seldon) if by_seldon.artifacts() else plain
