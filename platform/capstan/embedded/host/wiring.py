"""Constructs what the systems of a host share."""

from __future__ import annotations

from capstan.adapters.alertmanager.server import AlertmanagerServer, AlertmanagerSettings
from capstan.adapters.alertmanager.webhook import WebhookReceiver
from capstan.adapters.envoy.config import GatewaySettings
from capstan.adapters.envoy.shared import SharedEnvoy
from capstan.adapters.prometheus.server import PrometheusServer, PrometheusSettings
from capstan.embedded.layout import StateDir
from capstan.embedded.shared_parts import SharedParts
from capstan.embedded.wiring import Addresses, processes_of


def wire_host(folder: StateDir, addresses: Addresses, *, root: str | None) -> SharedParts:
    """Construct the shared parts; nothing is started yet. `root`: the system that has the gateway's bare address."""
    processes = processes_of(folder)
    envoy = SharedEnvoy(
        processes, folder.run / "envoy", GatewaySettings(port=addresses.gateway_port), root=root
    )
    alertmanager = AlertmanagerServer(
        processes,
        folder.run / "alertmanager",
        AlertmanagerSettings(
            webhook_url=f"{addresses.page_root}/alerts", webhook_token_file=folder.token_file("webhook")
        ),
    )
    prometheus = PrometheusServer(
        processes,
        folder.run / "prometheus",
        PrometheusSettings(
            envoy_admin=envoy.admin_address.removeprefix("http://"),
            envoy_is_shared=True,
            alertmanager=alertmanager.address.removeprefix("http://"),
        ),
    )
    return SharedParts(
        folder=folder,
        processes=processes,
        envoy=envoy,
        prometheus=prometheus,
        alertmanager=alertmanager,
        webhook=WebhookReceiver(folder.token("webhook")),
    )
