"""Traffic providers in a cluster: one module each, listed here."""

from __future__ import annotations

from collections.abc import Mapping

from capstan.cluster.wiring.traffic.envoy import ENVOY
from capstan.cluster.wiring.traffic.istio import ISTIO
from capstan.cluster.wiring.traffic.provider import TrafficProviderRow
from capstan.spec import MLSystem

TRAFFIC: Mapping[str, TrafficProviderRow] = {row.facts.name: row for row in (ENVOY, ISTIO)}
"""By name."""


def traffic_of(system: MLSystem) -> TrafficProviderRow:
    """The provider that the file names."""
    return TRAFFIC[system.spec.serving.traffic.provider]
