"""Knows all versions, their lineage and who is champion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from capstan.domain.versions import ModelVersion, RunName, VersionName


class Registry(Protocol):
    """One registry holds the versions of one system. Raises UnavailableError when it does not answer."""

    def register(
        self, version: ModelVersion, *, tags: Mapping[str, str], metrics: Mapping[str, float]
    ) -> ModelVersion:
        """Register what `version.run` made, under its final name; a second call for the run returns the first's."""
        ...

    def version(self, name: VersionName) -> ModelVersion | None: ...

    def version_of(self, run: RunName) -> ModelVersion | None: ...

    def versions(self) -> Sequence[ModelVersion]: ...

    def aliases(self) -> Mapping[str, VersionName]:
        """`champion` and `challenger`, where set."""
        ...

    def set_alias(self, alias: str, version: VersionName | None) -> None:
        """Point the alias at the version; None removes it."""
        ...
