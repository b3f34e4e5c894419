"""Splits, mirrors and moves the requests of one system."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from capstan.domain.traffic import TrafficSplit
from capstan.domain.versions import VersionName
from capstan.ports.serving import Endpoint


class TrafficProvider(Protocol):
    """The gateway. Raises UnavailableError when it does not answer, NotAllowedError for a split it can't do."""

    def apply(self, split: TrafficSplit, endpoints: Mapping[VersionName, Endpoint]) -> None:
        """Make it so without losing a request: cluster -> ready -> route, and back: route -> drain -> remove."""
        ...

    def read_back(self) -> TrafficSplit | None:
        """The split that the gateway really obeys now; None if it has none."""
        ...

    def refusal(self, split: TrafficSplit) -> str | None:
        """Why this provider can't do the split, asked before anything runs; None if it can."""
        ...
