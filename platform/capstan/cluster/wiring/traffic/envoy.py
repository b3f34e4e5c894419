"""Traffic of a system with `traffic.provider: Envoy`: pods of Capstan's gateway in front of the versions."""

from __future__ import annotations

from capstan.adapters.envoy.config import GatewaySettings
from capstan.adapters.envoy.fleet import EnvoyFleet
from capstan.adapters.kubernetes.serving import is_of_seldon
from capstan.adapters.seldon.serving import KIND
from capstan.cluster.names import (
    AGENT_PORT,
    COLLECTOR_PORT,
    COMBINER_PORT,
    GATEWAY_PORT,
    VERSION_LABEL,
    SystemNames,
)
from capstan.cluster.objects.gateway import config_map, gateway
from capstan.cluster.wiring.serving import serving_of
from capstan.cluster.wiring.traffic.provider import Surroundings, TrafficProviderRow, Versions
from capstan.ports.kube import Kube
from capstan.ports.serving import Endpoint
from capstan.ports.traffic import TrafficProvider
from capstan.spec import MLSystem
from capstan.spec.providers import PROVIDERS


def _wire(system: MLSystem, around: Surroundings) -> tuple[Versions, TrafficProvider]:
    names = around.names
    serving = serving_of(around.kube, system, names, around.settings, around.owner)
    collector = Endpoint(names.host(names.collector), COLLECTOR_PORT)
    fleet = EnvoyFleet(
        around.kube,
        around.http,
        config_map=config_map(names, around.owner)["metadata"],
        labels=names.selector("gateway"),
        agent_port=AGENT_PORT,
        token=around.tokens["internal"],
        settings=GatewaySettings(
            port=GATEWAY_PORT,
            host="0.0.0.0",  # noqa: S104
            collector=collector,
            # Each Envoy asks the combiner of its own pod.
            combiner=Endpoint("127.0.0.1", COMBINER_PORT) if system.spec.rollout.interleaves else None,
        ),
    )
    return serving, fleet


def _has_versions(kube: Kube, names: SystemNames) -> bool:
    """Each version behind the gateway is an object of its own, by a Deployment or by Seldon."""
    return any(
        VERSION_LABEL in one["metadata"]["labels"]
        for kind in ("Deployment", KIND)
        for one in kube.list(kind, names.namespace, labels=names.selector("model"))
        if not is_of_seldon(one)
    )


ENVOY = TrafficProviderRow(PROVIDERS["Envoy"], _wire, gateway, _has_versions)
