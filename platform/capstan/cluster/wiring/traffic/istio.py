"""Serving and traffic of a system with `traffic.provider: Istio`: one SeldonDeployment, and how it is made."""

from __future__ import annotations

from capstan.adapters.kubernetes.client import Kube, Object
from capstan.adapters.kubernetes.serving import Artifact, VersionObjects, is_of_seldon
from capstan.adapters.seldon.istio import SeldonIstio, SharedDeployment
from capstan.adapters.seldon.serving import KIND
from capstan.cluster.names import COLLECTOR_PORT, EXECUTOR_PORT, MODEL_PORT, VERSION_LABEL, Owner, SystemNames
from capstan.cluster.objects.access import policy, tcp
from capstan.cluster.objects.recording import executor_log_url
from capstan.cluster.objects.seldon import REST_TIMEOUT_MILLISECONDS, predictor
from capstan.cluster.settings import ClusterSettings
from capstan.cluster.wiring.traffic.provider import (
    Gateway,
    Surroundings,
    TrafficProviderRow,
    Versions,
    require_kinds,
)
from capstan.domain.versions import VersionName
from capstan.errors import InvalidSpecError, Mistake
from capstan.spec.providers import PROVIDERS
from capstan.spec.system import MLSystem

FACTS = PROVIDERS["Istio"]
_PAYLOAD_LOG = "CAPSTAN_COLLECTOR_URL"


def istio_of(
    kube: Kube,
    system: MLSystem,
    names: SystemNames,
    settings: ClusterSettings,
    owner: Owner | None,
    executor_token: str,
) -> SeldonIstio:
    """Both ports of the system; raises InvalidSpecError where Seldon or Istio is not installed."""
    require_kinds(kube, FACTS)

    def render(version: VersionName, artifact: Artifact, shadow: bool) -> Object:
        return shared_predictor(system, names, settings, version, artifact, executor_token, shadow=shadow)

    labels = names.selector("model")
    if any(VERSION_LABEL in one["metadata"]["labels"] for one in _of_their_own(kube, names)):
        rule = (
            "cannot take over from Envoy while versions run; keep it, or delete the system and apply it again"
        )
        raise InvalidSpecError([Mistake("spec.serving.traffic.provider", f"'Istio' {rule}")])
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


def _of_their_own(kube: Kube, names: SystemNames) -> list[Object]:
    """What runs versions that stand behind Envoy: one object each."""
    found = [
        one
        for kind in ("Deployment", KIND)
        for one in kube.list(kind, names.namespace, labels=names.selector("model"))
    ]
    return [one for one in found if not is_of_seldon(one)]


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


def _wire(system: MLSystem, around: Surroundings) -> tuple[Versions, Gateway]:
    both = istio_of(
        around.kube, system, around.names, around.settings, around.owner, around.tokens["executor"]
    )
    return both, both


def _objects(names: SystemNames, settings: ClusterSettings, owner: Owner | None) -> list[Object]:
    """Anybody asks the predictors and tells the collector themselves, as they would at a gateway of Capstan's."""
    entry = EXECUTOR_PORT if settings.seldon_executor else MODEL_PORT
    models, collector = names.selector("model"), names.selector("collector")
    return [
        policy(names, "istio", models, owner, ingress=[{"ports": tcp(entry)}]),
        policy(names, "feedback", collector, owner, ingress=[{"ports": tcp(COLLECTOR_PORT)}]),
    ]


ISTIO = TrafficProviderRow(FACTS, _wire, _objects)
