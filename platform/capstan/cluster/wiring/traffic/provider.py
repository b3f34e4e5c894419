"""What a traffic provider is made of in a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import httpx

from capstan.cluster.names import Owner, SystemNames
from capstan.cluster.settings import ClusterSettings
from capstan.domain.versions import VersionName
from capstan.ports.kube import Kube, Object
from capstan.ports.serving import Serving
from capstan.ports.traffic import TrafficProvider
from capstan.spec import MLSystem
from capstan.spec.providers import ProviderFacts


class Versions(Serving, Protocol):
    """What runs a system's versions in a cluster."""

    def settle(self) -> None:
        """Bring every version that runs to what the file asks for now; to be called when the file has changed."""
        ...

    def troubles(self) -> Mapping[VersionName, str]:
        """What is in the way of versions that do not start."""
        ...


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
    wire: Callable[[MLSystem, Surroundings], tuple[Versions, TrafficProvider]]
    """The Serving and the TrafficProvider port of a system; both may be one object. Raises InvalidSpecError."""
    objects: Callable[[MLSystem, SystemNames, ClusterSettings, Owner | None], list[Object]]
    """The fixed objects through which requests come."""
    has_versions: Callable[[Kube, SystemNames], bool]
    """Whether versions of a system run behind it."""
