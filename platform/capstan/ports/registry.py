"""Knows all versions, their lineage and who is champion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from capstan.domain.versions import ModelVersion, RunName, VersionName


class Registry(Protocol):
    """One registry holds the versions of one system. Raises UnavailableError when it does not answer."""

    def register(
        self, version: ModelVersion, *, tags: Mapping[str, str], metrics: Mapping[str, float]
    ) -> ModelVersion:
        """Register what `version.run` made, under its final name.

        A second call for the same run and rank returns the first's.
        """
        ...

    def version(self, name: VersionName) -> ModelVersion | None: ...

    def version_of(self, run: RunName, rank: int = 0) -> ModelVersion | None:
        """Version of that rank that the run registered; None if there is none yet."""
        ...

    def versions(self) -> Sequence[ModelVersion]: ...

    def aliases(self) -> Mapping[str, VersionName]:
        """`champion` and `challenger`, where set."""
        ...

    def set_alias(self, alias: str, version: VersionName | None) -> None:
        """Point the alias at the version; None removes it."""
        ...


@dataclass(frozen=True)
class RunRecord:
    """What led to a version, for people who look into the registry."""

    parameters: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    artifacts: Mapping[str, Path] = field(default_factory=dict)
    """Path below the run's artifacts -> local file."""


class RunRegistry(Registry, Protocol):
    """A registry that also keeps what led to a version: what a training run writes to."""

    def record_run(self, version: ModelVersion, record: RunRecord) -> str:
        """Keep the record of the run that made `version`; returns the registry's own id of the run.

        A second call for the run adds to the first's record.
        """
        ...

    def artifact(self, version: VersionName, path: str) -> bytes | None:
        """What the record of the version's run holds there; None: nothing, or there is no such version."""
        ...
