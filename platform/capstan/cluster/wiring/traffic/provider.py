"""What a traffic provider is made of in a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import httpx

from capstan.adapters.envoy.fleet import EnvoyFleet
from capstan.adapters.kubernetes.client import Kube, Object
from capstan.adapters.kubernetes.serving import DeploymentServing
from capstan.adapters.seldon.istio import SeldonIstio
from capstan.adapters.seldon.serving import SeldonServing
from capstan.cluster.moving import MovingServing
from capstan.cluster.names import Owner, SystemNames
from capstan.cluster.settings import ClusterSettings
from capstan.errors import InvalidSpecError, Mistake
from capstan.spec import MLSystem
from capstan.spec.providers import ProviderFacts

Versions: TypeAlias = DeploymentServing | SeldonServing | MovingServing | SeldonIstio
Gateway: TypeAlias = EnvoyFleet | SeldonIstio


@dataclass(frozen=True)
class Surroundings:
    """What a provider is wired with."""

    kube: Kube
    http: httpx.Client
    names: SystemNames
    settings: ClusterSettings
    owner: Owner | None
    tokens: Mapping[str, str]
    """By name."""


@dataclass(frozen=True)
class TrafficProviderRow:
    """One provider: its facts, its adapters, its objects."""

    facts: ProviderFacts
    wire: Callable[[MLSystem, Surroundings], tuple[Versions, Gateway]]
    """The Serving and the TrafficProvider port of a system; both may be one object. Raises InvalidSpecError."""
    objects: Callable[[SystemNames, ClusterSettings, Owner | None], list[Object]]
    """The fixed objects through which requests come."""


def require_kinds(kube: Kube, facts: ProviderFacts) -> None:
    """Raises InvalidSpecError where the cluster lacks what the provider needs."""
    for kind, what in facts.kinds.items():
        if not kube.serves(kind):
            rule = (
                f"needs {what}, which is not installed in this cluster; install it, or write provider: Envoy"
            )
            raise InvalidSpecError([Mistake("spec.serving.traffic.provider", f"{facts.name!r} {rule}")])
