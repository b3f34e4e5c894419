"""Envoy as the gateway on one machine: configured by files, moved without losing a request, read back from itself."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson

from capstan.adapters import envoy_bootstrap, envoy_config, process_table, tools
from capstan.adapters.envoy_config import GatewaySettings, Json
from capstan.adapters.envoy_stats import EnvoyCounters, PredictionCounts
from capstan.adapters.processes import ProcessSpec, ProcessSupervisor, require_free
from capstan.domain.traffic import TrafficSplit
from capstan.domain.versions import VersionName
from capstan.errors import NotAllowedError, UnavailableError
from capstan.files import write_whole
from capstan.ports.serving import Endpoint

PART = "the gateway (Envoy)"
PROCESS = "envoy"
TAKES_SECONDS = 5.0
"""Within this Envoy has read a new file, or something is wrong."""


@dataclass(frozen=True)
class _Files:
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


class EnvoyGateway:
    """The TrafficProvider of one machine: `start()` it, then `apply` splits; restarts of either side do no harm."""

    def __init__(
        self,
        supervisor: ProcessSupervisor,
        folder: Path,
        settings: GatewaySettings,
        *,
        ready_timeout_seconds: float = 15.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._supervisor = supervisor
        self._files = _Files(folder.resolve())
        admin_port = settings.admin_port or supervisor.port("envoy-admin")
        self.settings = GatewaySettings(**{**vars(settings), "admin_port": admin_port})
        self._ready_timeout = ready_timeout_seconds
        self._sleep = sleep
        self._admin = httpx.Client(base_url=f"http://127.0.0.1:{admin_port}", timeout=5.0, trust_env=False)
        self._counters = EnvoyCounters(folder.resolve() / "counters.json", self._get, self._boot)

    @property
    def address(self) -> str:
        """Where clients send requests."""
        return f"http://{self.settings.host}:{self.settings.port}"

    @property
    def admin_address(self) -> str:
        """Where Prometheus finds `/stats/prometheus`."""
        return f"http://127.0.0.1:{self.settings.admin_port}"

    def start(self) -> None:
        """Run Envoy, or adopt a running one with the same settings; returns when it listens.

        Raises PortInUseError, MissingToolError, UnavailableError with the end of its log.
        """
        files = self._files
        content = orjson.dumps(
            envoy_bootstrap.bootstrap(self.settings, files.clusters, files.routes), option=orjson.OPT_INDENT_2
        )
        write_whole(files.bootstrap, content)
        if not files.clusters.exists():
            self._publish(files.clusters, envoy_config.clusters(None, {}, self.settings))
        if not files.routes.exists():
            self._publish(files.routes, [envoy_config.routes(None, self.settings)])
        options = [
            "--disable-hot-restart",
            "--log-level",
            "warning",
            "--concurrency",
            str(self.settings.concurrency),
        ]
        spec = ProcessSpec(
            name=PROCESS,
            argv=(str(tools.find("envoy")), "-c", str(files.bootstrap), *options),
            env={"CAPSTAN_CONFIG": hashlib.sha256(content).hexdigest()},
            health_url=f"{self.admin_address}/ready",
            grace_seconds=8.0,
        )
        if PROCESS not in self._supervisor.adopt():
            require_free(self.settings.port, "--gateway-port", self.settings.host)
        self._supervisor.ensure(spec)
        self._supervisor.wait_healthy(PROCESS, 30.0)
        self._renew()

    def remember(self) -> None:
        """Read the counters and keep them; call it at every tick, so that a crash of Envoy loses little."""
        self._counters.remember()

    def stop(self) -> None:
        """Count a last time, then stop Envoy; the configuration stays for the next start."""
        self.remember()
        self._supervisor.stop(PROCESS)

    def refusal(self, split: TrafficSplit) -> str | None:
        """Why Envoy can't do the split; None if it can."""
        versions = [arm.version for arm in split.arms]
        answering = {arm.version for arm in split.arms if arm.weight > 0}
        if sum(arm.weight for arm in split.arms) != 100:
            return f"the weights {[arm.weight for arm in split.arms]} do not sum to 100"
        if any(arm.weight < 0 for arm in split.arms) or any(not 0 <= m.percent <= 100 for m in split.mirrors):
            return "a weight or percentage is outside 0-100"
        if len(set(versions)) < len(versions):
            return f"a version has two arms: {versions}"
        if both := sorted(answering & {mirror.version for mirror in split.mirrors}):
            return f"{', '.join(both)} cannot answer requests and receive their copies at once"
        if any(char in split.salt for char in "\n\r\0"):
            return "the salt holds a control character"
        return None

    def apply(self, split: TrafficSplit, endpoints: Mapping[VersionName, Endpoint]) -> None:
        """Cluster -> ready -> route -> drain -> remove; applying what is so already changes nothing.

        Raises NotAllowedError for a split that `refusal` explains; UnavailableError when Envoy is away, when a version
        that is to get its first requests is not ready, or when Envoy does not take the configuration: whatever was
        routed before stays routed.
        """
        if (refused := self.refusal(split)) is not None:
            raise NotAllowedError(f"{PART} cannot do this split: {refused}")
        if missing := sorted(split.versions - endpoints.keys()):
            raise UnavailableError(PART, f"no endpoint is known for {', '.join(missing)}")
        wanted = envoy_config.clusters(split, endpoints, self.settings)
        names = {cluster["name"] for cluster in wanted}
        leaving = [c for c in self._live("clusters") if c["name"] not in names]
        before = self.read_back()
        self._set_clusters([*wanted, *leaving])
        # A version that answers already is not waited for: its failure is for the planner to judge, not to block on.
        self._await_ready(split.versions - (before.versions if before else frozenset()))
        self._set_routes(split)
        if leaving:
            self._drain([cluster["name"] for cluster in leaving])
            self._set_clusters(wanted)

    def read_back(self) -> TrafficSplit | None:
        """The split that Envoy obeys now, from its own dump of the routes."""
        tables = self._live("routes")
        return envoy_config.split_of(tables[0]) if tables else None

    def healthy(self) -> Mapping[str, bool]:
        """Version (or `collector`) -> whether Envoy's own health checks pass."""
        health: dict[str, bool] = {}
        for cluster in self._get("/clusters", format="json").get("cluster_statuses", ()):
            hosts = cluster.get("host_statuses", ())
            if hosts and not cluster["name"].startswith(envoy_config.ARM_PREFIX):
                failing = [h for h in hosts if h["health_status"].get("failed_active_health_check")]
                health[cluster["name"]] = not failing
        return health

    def predictions(self) -> PredictionCounts:
        """Completed and failed predictions over all lives of Envoy; read often, so that a crash loses little."""
        return self._counters.predictions()

    def completed_predictions(self) -> int:
        """Predictions that a version answered, over all lives of Envoy; mirrors, retries and feedback not counted."""
        return self._counters.predictions().completed

    def active_requests(self) -> int:
        """Requests, mirrored copies and retries that are not answered yet; those to the collector not counted."""
        return self._counters.active()

    def assigned(self) -> Mapping[VersionName, int]:
        """Predictions that the split gave to each arm since Envoy's boot, whoever answered in the end."""
        return self._counters.assigned()

    def _renew(self) -> None:
        """Keep what is routed, with the routes and the collector of these settings."""
        split = self.read_back()
        fixed = envoy_config.clusters(None, {}, self.settings)
        names = {cluster["name"] for cluster in fixed}
        self._set_clusters([*fixed, *(c for c in self._live("clusters") if c["name"] not in names)])
        self._set_routes(split)

    def _set_clusters(self, wanted: list[Json]) -> None:
        version = self._publish(self._files.clusters, wanted)
        self._await(lambda: self._version("clusters") == version, "the clusters", self._files.clusters)

    def _set_routes(self, split: TrafficSplit | None) -> None:
        version = self._publish(self._files.routes, [envoy_config.routes(split, self.settings)])

        def taken() -> bool:
            return self._version("routes") == version and self.read_back() == split

        self._await(taken, "the routes", self._files.routes)

    def _publish(self, file: Path, resources: list[Json]) -> str:
        version, content = envoy_config.document(resources)
        write_whole(file, content)
        return version

    def _await(self, condition: Callable[[], bool], what: str, file: Path) -> None:
        deadline = time.monotonic() + TAKES_SECONDS
        renewed = False
        while not condition():
            if time.monotonic() > deadline:
                raise UnavailableError(PART, f"it did not take {what} of {file}: {self._complaint()}")
            if not renewed and time.monotonic() > deadline - TAKES_SECONDS * 0.8:
                # The file is right but Envoy obeys another: it was changed and changed back unseen. Move it again.
                content = file.read_bytes()
                file.unlink()
                write_whole(file, content)
                renewed = True
            self._sleep(0.01)

    def _await_ready(self, versions: frozenset[VersionName]) -> None:
        deadline = time.monotonic() + self._ready_timeout
        while unready := sorted(v for v, healthy in self._health_of(versions).items() if not healthy):
            if time.monotonic() > deadline:
                raise UnavailableError(
                    PART, f"{', '.join(unready)} does not pass its health check; nothing was routed"
                )
            self._sleep(0.02)

    def _health_of(self, versions: frozenset[VersionName]) -> dict[VersionName, bool]:
        healthy = self.healthy()
        return {version: healthy.get(version, False) for version in versions}

    def _drain(self, names: list[str]) -> None:
        """Until the leaving clusters have had nothing to answer for a moment, at most a request's whole timeout."""
        deadline = time.monotonic() + self.settings.timeout_seconds + 1
        quiet = 0
        while quiet < 3 and time.monotonic() < deadline:
            active = self._counters.counters(r"^cluster\..*\.upstream_rq_active$")
            busy = any(active.get(f"cluster.{name}.upstream_rq_active", 0) for name in names)
            quiet = 0 if busy else quiet + 1
            self._sleep(0.03)

    def _live(self, resource: str) -> list[Json]:
        kind, inner = _DUMPS[resource]
        dump = self._get("/config_dump", resource=kind)
        return [config[inner] for config in dump.get("configs", ()) if inner in config]

    def _version(self, resource: str) -> str:
        if resource == "clusters":
            return self._counters.text("cluster_manager.cds.version_text")
        dump = self._get("/config_dump", resource=_DUMPS[resource][0])
        return "".join({str(config.get("version_info", "")) for config in dump.get("configs", ())})

    def _complaint(self) -> str:
        complaints = [
            str(config["error_state"].get("details", ""))
            for kind, _ in _DUMPS.values()
            for config in self._get("/config_dump", resource=kind).get("configs", ())
            if "error_state" in config
        ]
        return "; ".join(complaints) or f"no complaint; see {self._supervisor.log_dir / 'envoy.log'}"

    def _boot(self) -> str:
        status = self._supervisor.status().get(PROCESS)
        if status is None or status.pid is None:
            raise UnavailableError(PART, "its process does not run")
        return f"{status.pid} {process_table.born(status.pid)}"

    def _get(self, path: str, **query: str) -> Any:
        try:
            answer = self._admin.get(path, params=query)
            answer.raise_for_status()
            return answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise UnavailableError(PART, str(error) or type(error).__name__) from error


_DUMPS = {
    "clusters": ("dynamic_active_clusters", "cluster"),
    "routes": ("dynamic_route_configs", "route_config"),
}
