"""Traffic providers in a cluster: one module each, listed here."""

from __future__ import annotations

from collections.abc import Mapping

from capstan.cluster.wiring.traffic.envoy import ENVOY
from capstan.cluster.wiring.traffic.istio import ISTIO
from capstan.cluster.wiring.traffic.provider import Surroundings, TrafficProviderRow, Versions
from capstan.errors import InvalidSpecError, Mistake
from capstan.ports.kube import Kube
from capstan.ports.traffic import TrafficProvider
from capstan.spec import MLSystem
from capstan.spec.providers import DEFAULT, ProviderFacts

_ROWS = (
    ENVOY,
    ISTIO,
)
TRAFFIC: Mapping[str, TrafficProviderRow] = {row.facts.name: row for row in _ROWS}
"""By name."""


def traffic_of(system: MLSystem) -> TrafficProviderRow:
    """The provider that the file names."""
    return TRAFFIC[system.spec.serving.traffic.provider]


def wire_traffic(system: MLSystem, around: Surroundings) -> tuple[Versions, TrafficProvider]:
    """The Serving and the TrafficProvider port of a system.

    Raises InvalidSpecError for what the cluster does not have, and where versions run behind another provider: moving
    them is not done yet.
    """
    provider = traffic_of(system)
    _require_kinds(around.kube, provider.facts)
    for other in TRAFFIC.values():
        if other is not provider and other.has_versions(around.kube, around.names):
            way = "keep it, or delete the system and apply it again"
            raise _refused(
                provider.facts, f"cannot take over from {other.facts.name} while versions run; {way}"
            )
    return provider.wire(system, around)


def _require_kinds(kube: Kube, facts: ProviderFacts) -> None:
    for kind, what in facts.kinds.items():
        if not kube.serves(kind):
            raise _refused(
                facts,
                f"needs {what}, which is not installed in this cluster; install it, or write provider: {DEFAULT}",
            )


def _refused(facts: ProviderFacts, rule: str) -> InvalidSpecError:
    return InvalidSpecError([Mistake("spec.serving.traffic.provider", f"{facts.name!r} {rule}")])
