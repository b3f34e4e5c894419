"""Runs model versions as processes or pods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from capstan.domain.versions import ModelVersion, Readiness, VersionName


@dataclass(frozen=True)
class Endpoint:
    """Where a version listens."""

    host: str
    port: int


class Serving(Protocol):
    """One process (or Deployment) per version; raises UntrustedArtifactError if the digest does not hold."""

    def deploy(self, version: ModelVersion) -> None:
        """Bring it up, or leave it alone if it is; returns at once, readiness is observed."""
        ...

    def retire(self, name: VersionName) -> None:
        """Stop it gracefully; no error if it is not there. The caller has drained its traffic."""
        ...

    def readiness(self) -> Mapping[VersionName, Readiness]:
        """Every version that runs or should run."""
        ...

    def endpoint(self, name: VersionName) -> Endpoint | None: ...
