"""One Envoy for several systems of this machine; each sees its share as if it were alone."""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from capstan.adapters.envoy import config as envoy_config
from capstan.adapters.envoy import merging
from capstan.adapters.envoy.config import GatewaySettings, document
from capstan.adapters.envoy.gateway import CountedGateway
from capstan.adapters.envoy.host import EnvoyHost, Kind
from capstan.adapters.envoy.merging import Fragment
from capstan.adapters.envoy.server import EnvoyServer
from capstan.adapters.envoy.stats import PREDICTIONS
from capstan.adapters.processes.children import ProcessSupervisor
from capstan.domain.versions import VersionName
from capstan.errors import UnavailableError
from capstan.files import write_whole

KINDS: tuple[Kind, ...] = ("clusters", "routes")


class SharedEnvoy(EnvoyServer):
    """Merges what the systems write into the files that Envoy watches; their threads may write at once."""

    def __init__(
        self,
        supervisor: ProcessSupervisor,
        folder: Path,
        settings: GatewaySettings,
        *,
        root: str | None = None,
    ) -> None:
        """`root`: the system that answers paths without a name."""
        super().__init__(supervisor, folder, settings)
        self.root = root
        self._fragments = folder.resolve() / "systems"
        self._lock = threading.Lock()

    def start(self, keep: Iterable[str] = ()) -> None:
        """As of `EnvoyServer`. What systems other than these wrote in an earlier life is forgotten."""
        wanted = set(keep)
        with self._lock:
            for left in self._fragments.glob("*"):
                if left.name not in wanted:
                    shutil.rmtree(left, ignore_errors=True)
            for kind in KINDS:
                self._merge(kind)
        super().start()

    def fragment(self, system: str, kind: Kind) -> bytes | None:
        """The document that the system wrote last; None: it wrote none."""
        try:
            return self._file(system, kind).read_bytes()
        except FileNotFoundError:
            return None

    def lay(self, system: str, kind: Kind, content: bytes | None) -> None:
        """Let Envoy obey the document of the system beside those of the others; None takes it away."""
        with self._lock:
            if content is None:
                self._file(system, kind).unlink(missing_ok=True)
            else:
                write_whole(self._file(system, kind), content)
            self._merge(kind)

    def renew(self, kind: Kind) -> None:
        """Let Envoy read its file again."""
        with self._lock:
            self.host.renew(kind)

    def leave(self, system: str) -> None:
        """Route nothing to the system any more, then forget its clusters. Its name answers 404 from now on."""
        if system == self.root:
            self.root = None
        self.lay(system, "routes", None)
        self.lay(system, "clusters", None)
        shutil.rmtree(self._fragments / system, ignore_errors=True)

    def _merge(self, kind: Kind) -> None:
        found: dict[str, Fragment] = {}
        for file in sorted(self._fragments.glob(f"*/{kind}.json")):
            try:
                found[file.parent.name] = Fragment.of(file.read_bytes())
            except (OSError, ValueError, KeyError, TypeError):
                # A torn disk: its system writes it anew when it starts.
                continue
        content = merging.merged(kind, found, root=self.root, port=self.settings.port)
        write_whole(self.files.of(kind), content)

    def _file(self, system: str, kind: Kind) -> Path:
        return self._fragments / system / f"{kind}.json"


class EnvoyShare(EnvoyHost):
    """The EnvoyHost of one system: what it writes is merged, what Envoy answers is translated back."""

    def __init__(self, envoy: SharedEnvoy, system: str) -> None:
        self._envoy = envoy
        self._system = system
        own = re.escape(system)
        self._stats = (
            rf"^(cluster\.{own}/[^.]+\.upstream_rq_[a-z0-9_]+|vhost\.({merging.EVERYBODY}|{own})\.vcluster\.{own}\."
            r"upstream_rq_[245]xx|cluster_manager\.cds\.version_text)$"
        )

    @property
    def name(self) -> str:
        return "envoy"

    def publish(self, kind: Kind, content: bytes) -> None:
        self._envoy.lay(self._system, kind, content)

    def renew(self, kind: Kind) -> None:
        self._envoy.renew(kind)

    def ask(self, path: str, **query: str) -> Any:
        if path == "/stats":
            return self._own_stats(query)
        found = self._envoy.ask(path, **query)
        if path == "/clusters":
            prefix = f"{self._system}/"
            mine = [
                {**one, "name": one["name"].removeprefix(prefix)}
                for one in found.get("cluster_statuses", ())
                if one["name"].startswith(prefix)
            ]
            return {**found, "cluster_statuses": mine}
        configs = found.get("configs", ())
        translate = merging.own_routes if "route" in query.get("resource", "") else merging.own_clusters
        return {**found, "configs": translate(configs, self._system)}

    def boot(self) -> str:
        return self._envoy.boot()

    def where(self, kind: Kind) -> str:
        return self._envoy.host.where(kind)

    def log(self) -> str:
        return self._envoy.host.log()

    def _own_stats(self, query: Mapping[str, str]) -> Any:
        """The system's own counters under the names that they have where it is alone."""
        wanted = re.compile(query.get("filter", ""))
        found = self._envoy.ask("/stats", **{**query, "filter": self._stats})
        sums: Counter[str] = Counter()
        texts: dict[str, str] = {}
        for stat in found.get("stats", ()):
            name = self._own_name(str(stat.get("name", "")))
            if not wanted.search(name) or "value" not in stat:
                continue
            if isinstance(stat["value"], str):
                texts[name] = merging.version_in(stat["value"], self._system)
            else:
                # Predictions by path and by host are counted apart.
                sums[name] += int(stat["value"])
        both: dict[str, str | int] = {**sums, **texts}
        return {"stats": [{"name": name, "value": value} for name, value in both.items()]}

    def _own_name(self, name: str) -> str:
        cluster = f"cluster.{self._system}/"
        if name.startswith(cluster):
            return f"cluster.{name.removeprefix(cluster)}"
        if name.startswith("vhost."):
            return PREDICTIONS + name.rpartition(".upstream_rq_")[2]
        return name


class SharedGateway(CountedGateway):
    """The TrafficProvider of one system among several that one Envoy serves."""

    def __init__(
        self,
        envoy: SharedEnvoy,
        system: str,
        counters: Path,
        settings: GatewaySettings,
        *,
        port_of: Callable[[VersionName], int] | None = None,
        ready_timeout_seconds: float = 15.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`counters`: the file where its predictions are added up; port and host are those of the Envoy.

        `port_of`: as of CountedGateway.
        """
        own = envoy.settings
        super().__init__(
            envoy,
            EnvoyShare(envoy, system),
            counters,
            replace(settings, port=own.port, host=own.host, admin_port=own.admin_port),
            port_of=port_of,
            ready_timeout_seconds=ready_timeout_seconds,
            sleep=sleep,
        )
        self._envoy = envoy
        self._system = system

    @property
    def address(self) -> str:
        """Where clients send requests of this system."""
        is_root = self._envoy.root == self._system
        return self._server.address if is_root else f"{self._server.address}/{self._system}"

    def start(self) -> None:
        """Take its place beside the others, with what it routed when it last ran there; Envoy runs."""
        if self._envoy.fragment(self._system, "clusters") is None:
            self._host.publish("clusters", document(envoy_config.clusters(None, {}, self.settings))[1])
        if self._envoy.fragment(self._system, "routes") is None:
            self._host.publish("routes", document([envoy_config.routes(None, self.settings)])[1])
        self._renew()

    def stop(self) -> None:
        """Count a last time, then leave; the others go on."""
        self.remember()
        self._envoy.leave(self._system)

    def _set(self, kind: Kind, content: bytes, taken: Callable[[EnvoyHost], bool]) -> None:
        before = self._envoy.fragment(self._system, kind)
        try:
            super()._set(kind, content, taken)
        except UnavailableError:
            # A document that Envoy refuses would keep it from taking any of the others' either.
            self._envoy.lay(self._system, kind, before)
            raise
