"""Serving and traffic of a system with `traffic.provider: Istio`: one SeldonDeployment, and how it is made."""

from __future__ import annotations

from capstan.adapters.kubernetes.serving import Artifact, VersionObjects
from capstan.adapters.seldon.istio import SeldonIstio, SharedDeployment
from capstan.adapters.seldon.serving import KIND
from capstan.cluster.names import COLLECTOR_PORT, EXECUTOR_PORT, MODEL_PORT, VERSION_LABEL, Owner, SystemNames
from capstan.cluster.objects.access import policy, tcp
from capstan.cluster.objects.recording import executor_log_url
from capstan.cluster.objects.seldon import REST_TIMEOUT_MILLISECONDS, predictor
from capstan.cluster.settings import ClusterSettings
from capstan.cluster.wiring.traffic.provider import (
    Surroundings,
    TrafficProviderRow,
    Versions,
)
from capstan.domain.versions import VersionName
from capstan.ports.kube import Kube, Object
from capstan.ports.traffic import TrafficProvider
from capstan.spec.providers import PROVIDERS
from capstan.spec.system import MLSystem

_PAYLOAD_LOG = "CAPSTAN_COLLECTOR_URL"


def istio_of(
    kube: Kube,
    system: MLSystem,
    names: SystemNames,
    settings: ClusterSettings,
    owner: Owner | None,
    executor_token: str,
) -> SeldonIstio:
    """Both ports of the system."""

    def render(version: VersionName, artifact: Artifact, shadow: bool) -> Object:
        return shared_predictor(system, names, settings, version, artifact, executor_token, shadow=shadow)

    labels = names.selector("model")
    shared = SharedDeployment(
        metadata=names.metadata(str(names.system), names.labels("model"), owner),
        spec={
            "protocol": "v2",
            "annotations": {"seldon.io/rest-timeout": str(REST_TIMEOUT_MILLISECONDS)},
        },
        predictor=render,
        port=EXECUTOR_PORT if settings.seldon_executor else MODEL_PORT,
    )
    versions = VersionObjects(
        names.namespace, labels, VERSION_LABEL, lambda _: shared.name, lambda *_: (), shared.port
    )
    return SeldonIstio(
        kube,
        shared,
        versions,
        sticky=system.spec.data.keys.sticky_by is not None,
        hides_failures=system.spec.serving.traffic.failures == "Hidden",
    )


def shared_predictor(
    system: MLSystem,
    names: SystemNames,
    settings: ClusterSettings,
    version: VersionName,
    artifact: Artifact,
    executor_token: str,
    *,
    shadow: bool,
) -> Object:
    """A version beside others.

    Behind an executor the executor logs the payloads, since it alone knows the request's id; without one the service
    does, as everywhere.
    """
    if not settings.seldon_executor:
        return predictor(system, names, settings, version, artifact)
    logger = {"mode": "all", "url": executor_log_url(names, executor_token, shadow=shadow)}
    made = predictor(system, names, settings, version, artifact, logger=logger)
    model = made["componentSpecs"][0]["spec"]["containers"][0]
    model["env"] = [entry for entry in model["env"] if entry["name"] != _PAYLOAD_LOG]
    return made


def _wire(system: MLSystem, around: Surroundings) -> tuple[Versions, TrafficProvider]:
    both = istio_of(
        around.kube, system, around.names, around.settings, around.owner, around.tokens["executor"]
    )
    return both, both


def _objects(
    _system: MLSystem, names: SystemNames, settings: ClusterSettings, owner: Owner | None
) -> list[Object]:
    """Anybody asks the predictors and tells the collector themselves, as they would at a gateway of Capstan's."""
    entry = EXECUTOR_PORT if settings.seldon_executor else MODEL_PORT
    models, collector = names.selector("model"), names.selector("collector")
    return [
        policy(names, "istio", models, owner, ingress=[{"ports": tcp(entry)}]),
        policy(names, "feedback", collector, owner, ingress=[{"ports": tcp(COLLECTOR_PORT)}]),
    ]


def _has_versions(kube: Kube, names: SystemNames) -> bool:
    return kube.serves(KIND) and kube.get(KIND, str(names.system), names.namespace) is not None


ISTIO = TrafficProviderRow(PROVIDERS["Istio"], _wire, _objects, _has_versions)
