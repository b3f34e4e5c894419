"""Turns a trained model into something that can be served, and proves what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from capstan.domain.versions import Digest, SystemName


class Packager(Protocol):
    """Builds and verifies Bentos."""

    def package(self, system: SystemName, model_dir: Path) -> tuple[str, Digest]:
        """Build a Bento from a folder of artifacts; returns (tag, digest), the same for the same content."""
        ...

    def path(self, tag: str) -> Path:
        """The folder of a Bento that was built here; raises NotFoundError."""
        ...

    def verify(self, tag: str, digest: Digest) -> Path:
        """The Bento's folder, if its content hashes to `digest`; raises UntrustedArtifactError or NotFoundError."""
        ...
