"""The adapter of a gateway pod; the only module here that constructs one."""

from __future__ import annotations

from capstan.adapters.envoy.config import GatewaySettings
from capstan.adapters.envoy.host import LocalEnvoy
from capstan.gateway.envoy_process import EnvoyProcess
from capstan.gateway.pod import GatewayPod


def wire_pod(envoy: EnvoyProcess, settings: GatewaySettings) -> GatewayPod:
    """The pod around its Envoy, which nobody has started yet."""
    host = LocalEnvoy(envoy.files, envoy.ask, lambda: envoy.boot, "the log of this container")
    return GatewayPod(envoy, host, settings)
