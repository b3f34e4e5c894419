"""Configuration of one gateway pod as it is kept, pushed and mounted: two documents, each with its generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from capstan.adapters.envoy.config import Json, members, used_clusters
from capstan.adapters.envoy.host import Kind, generation_of

GENERATION_FILE = "generation"


class RefusedError(ValueError):
    """The content is no document, or requests would be lost by it; nothing was changed."""


@dataclass(frozen=True)
class Document:
    """One file for Envoy, with the number of the ConfigMap's content that it belongs to."""

    generation: int
    content: bytes

    @property
    def resources(self) -> Sequence[Json]:
        found: Sequence[Json] = orjson.loads(self.content)["resources"]
        return found


@dataclass(frozen=True)
class Configuration:
    """Clusters and routes of one pod."""

    clusters: Document
    routes: Document

    @property
    def rank(self) -> tuple[int, int]:
        """Order of configurations: the greater one is newer."""
        generations = (self.clusters.generation, self.routes.generation)
        return max(generations), min(generations)

    def of(self, kind: Kind) -> Document:
        return self.clusters if kind == "clusters" else self.routes

    def replaced(self, kind: Kind, document: Document) -> Configuration:
        """The configuration with the other document; raises RefusedError if the routes would use a missing
        cluster.
        """
        changed = replace(self, **{kind: document})
        changed.check()
        return changed

    def check(self) -> None:
        """Raises RefusedError for documents that do not fit together."""
        try:
            clusters = {cluster["name"]: cluster for cluster in self.clusters.resources}
            used = {name for table in self.routes.resources for name in used_clusters(table)}
            needed = used | {name for each in used if each in clusters for name in members(clusters[each])}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RefusedError(f"Envoy cannot read it: {type(error).__name__} {error}") from error
        if missing := sorted(needed - clusters.keys()):
            raise RefusedError(f"the routes use {', '.join(missing)}, which the clusters lack")

    def to_json(self) -> dict[str, Any]:
        return {
            kind: {"generation": document.generation, "content": document.content.decode()}
            for kind, document in (("clusters", self.clusters), ("routes", self.routes))
        }

    @classmethod
    def from_json(cls, found: Any) -> Configuration:
        """The configuration from `to_json`'s data; raises RefusedError."""
        try:
            clusters, routes = (
                Document(int(found[kind]["generation"]), str(found[kind]["content"]).encode())
                for kind in ("clusters", "routes")
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RefusedError(f"it is no configuration: {type(error).__name__} {error}") from error
        configuration = cls(clusters, routes)
        configuration.check()
        return configuration


def mounted(folder: Path) -> Configuration | None:
    """Configuration in the mounted ConfigMap; None while it is empty, or where its documents do not fit together."""
    try:
        # The folder behind the link is read, because the kubelet swaps the link `..data` between two reads.
        folder = (folder / "..data").resolve(strict=True) if (folder / "..data").exists() else folder
        # A generation that somebody edited into no number counts as the oldest; it is still better than nothing.
        number = folder / GENERATION_FILE
        generation = generation_of(number.read_text().strip() if number.exists() else "") or 0
        configuration = Configuration(
            Document(generation, (folder / "clusters.json").read_bytes()),
            Document(generation, (folder / "routes.json").read_bytes()),
        )
        configuration.check()
    except (OSError, ValueError):
        return None
    return configuration
