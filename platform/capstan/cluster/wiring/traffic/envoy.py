"""Traffic of a system with `traffic.provider: Envoy`: pods of Capstan's gateway in front of the versions."""

from __future__ import annotations

from capstan.adapters.envoy.config import GatewaySettings
from capstan.adapters.envoy.fleet import EnvoyFleet
from capstan.cluster.names import AGENT_PORT, COLLECTOR_PORT, GATEWAY_PORT
from capstan.cluster.objects.gateway import config_map, gateway
from capstan.cluster.wiring.serving import serving_of
from capstan.cluster.wiring.traffic.provider import Gateway, Surroundings, TrafficProviderRow, Versions
from capstan.ports.serving import Endpoint
from capstan.spec import MLSystem
from capstan.spec.providers import PROVIDERS


def _wire(system: MLSystem, around: Surroundings) -> tuple[Versions, Gateway]:
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
        settings=GatewaySettings(port=GATEWAY_PORT, host="0.0.0.0", collector=collector),  # noqa: S104
    )
    return serving, fleet


ENVOY = TrafficProviderRow(PROVIDERS["Envoy"], _wire, gateway)
