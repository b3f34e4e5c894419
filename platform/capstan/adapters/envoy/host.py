"""One Envoy as the loop deals with it: documents that it takes, and what its admin port says that it obeys."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from capstan.adapters.envoy import config as envoy_config
from capstan.adapters.envoy.config import Json
from capstan.adapters.envoy.stats import version_of_clusters
from capstan.domain.traffic import TrafficSplit
from capstan.files import write_whole

PART = "the gateway (Envoy)"
Kind: TypeAlias = Literal["clusters", "routes"]
_DUMPS: dict[Kind, tuple[str, str]] = {
    "clusters": ("dynamic_active_clusters", "cluster"),
    "routes": ("dynamic_route_configs", "route_config"),
}
GENERATION_HEADER = "x-capstan-generation"
"""Header with the number of the ConfigMap's content that a pushed document belongs to."""
_GENERATION = re.compile(r"[0-9]{1,18}")
"""Form of a generation that fits into 64 bits, since anybody may have edited it."""
ADMIN_PATHS = frozenset({"/clusters", "/config_dump", "/stats"})
"""Paths that may be asked for. The admin port could also stop Envoy or show keys."""


def generation_of(text: str) -> int | None:
    """Number that the text is; None if it is none."""
    return int(text) if _GENERATION.fullmatch(text) else None


class EnvoyHost(Protocol):
    """Where one Envoy gets its configuration and answers questions. Raises UnavailableError."""

    @property
    def name(self) -> str:
        """Name for messages, by which hosts are told apart."""
        ...

    def publish(self, kind: Kind, content: bytes) -> None:
        """Lay the document where Envoy takes it from, whole or not at all."""
        ...

    def renew(self, kind: Kind) -> None:
        """Let Envoy read again what was published last: it was changed and changed back unseen."""
        ...

    def ask(self, path: str, **query: str) -> Any:
        """What the admin port answers to one of ADMIN_PATHS, parsed."""
        ...

    def boot(self) -> str:
        """Name of the present life of Envoy's process. Each life has another, since its counters begin at 0."""
        ...

    def where(self, kind: Kind) -> str:
        """Place of the document, for messages."""
        ...

    def log(self) -> str:
        """Place of Envoy's log, for messages."""
        ...


@dataclass(frozen=True)
class EnvoyFiles:
    """The files that one Envoy starts with and watches."""

    folder: Path

    @property
    def bootstrap(self) -> Path:
        return self.folder / "bootstrap.json"

    @property
    def clusters(self) -> Path:
        return self.folder / "clusters" / "clusters.json"

    @property
    def routes(self) -> Path:
        return self.folder / "routes" / "routes.json"

    def of(self, kind: Kind) -> Path:
        return self.clusters if kind == "clusters" else self.routes


class LocalEnvoy:
    """An Envoy of this machine, or of this pod: it watches files and answers on a loopback port."""

    name = "envoy"

    def __init__(self, files: EnvoyFiles, get: Callable[..., Any], boot: Callable[[], str], log: str) -> None:
        """`get` asks the admin port: path and query -> parsed JSON, or UnavailableError."""
        self.files = files
        self._get = get
        self._boot = boot
        self._log = log

    def publish(self, kind: Kind, content: bytes) -> None:
        write_whole(self.files.of(kind), content)

    def renew(self, kind: Kind) -> None:
        file = self.files.of(kind)
        content = file.read_bytes()
        file.unlink()
        write_whole(file, content)

    def ask(self, path: str, **query: str) -> Any:
        return self._get(path, **query)

    def boot(self) -> str:
        return self._boot()

    def where(self, kind: Kind) -> str:
        return str(self.files.of(kind))

    def log(self) -> str:
        return self._log


def live(host: EnvoyHost, kind: Kind) -> Sequence[Json]:
    """Clusters or route tables that it obeys now, from its own dump."""
    dump, inner = _DUMPS[kind]
    found = host.ask("/config_dump", resource=dump)
    return [config[inner] for config in found.get("configs", ()) if inner in config]


def version(host: EnvoyHost, kind: Kind) -> str:
    """Version of the document that it obeys now; empty if it has none."""
    if kind == "clusters":
        return version_of_clusters(host.ask)
    dump = host.ask("/config_dump", resource=_DUMPS[kind][0])
    return "".join({str(config.get("version_info", "")) for config in dump.get("configs", ())})


def split(host: EnvoyHost) -> TrafficSplit | None:
    """The split that it obeys now; None if it answers nothing."""
    tables = live(host, "routes")
    return envoy_config.split_of(tables[0]) if tables else None


def health(host: EnvoyHost) -> dict[str, bool]:
    """Version (or `collector`) -> whether its own health checks pass."""
    found: dict[str, bool] = {}
    for cluster in host.ask("/clusters", format="json").get("cluster_statuses", ()):
        hosts = cluster.get("host_statuses", ())
        if hosts and not cluster["name"].startswith(envoy_config.ARM_PREFIX):
            failing = [h for h in hosts if h["health_status"].get("failed_active_health_check")]
            found[cluster["name"]] = not failing
    return found


def complaint(host: EnvoyHost) -> str:
    """Why it did not take a document, as it says."""
    complaints = [
        str(config["error_state"].get("details", ""))
        for dump, _ in _DUMPS.values()
        for config in host.ask("/config_dump", resource=dump).get("configs", ())
        if "error_state" in config
    ]
    return "; ".join(complaints) or f"no complaint; see {host.log()}"
