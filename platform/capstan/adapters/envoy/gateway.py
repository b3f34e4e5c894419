"""Envoy as the gateway on one machine: configured by files, moved without losing a request, read back from itself."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson

from capstan.adapters.envoy import bootstrap as envoy_bootstrap
from capstan.adapters.envoy import config as envoy_config
from capstan.adapters.envoy.config import GatewaySettings, document
from capstan.adapters.envoy.host import PART, EnvoyFiles, EnvoyHost, LocalEnvoy
from capstan.adapters.envoy.order import OrderedTraffic
from capstan.adapters.envoy.stats import EnvoyCounters, PredictionCounts
from capstan.adapters.processes import programs as tools
from capstan.adapters.processes import table as process_table
from capstan.adapters.processes.children import ProcessSpec, ProcessSupervisor, require_free
from capstan.domain.versions import VersionName
from capstan.errors import UnavailableError
from capstan.files import write_whole
from capstan.outages import in_words

PROCESS = "envoy"


class EnvoyGateway(OrderedTraffic):
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
        admin_port = settings.admin_port or supervisor.port("envoy-admin")
        super().__init__(
            replace(settings, admin_port=admin_port), ready_timeout_seconds=ready_timeout_seconds, sleep=sleep
        )
        self._admin = httpx.Client(base_url=f"http://127.0.0.1:{admin_port}", timeout=5.0, trust_env=False)
        log = supervisor.log_dir / f"{PROCESS}.log"
        self._host = LocalEnvoy(EnvoyFiles(folder.resolve()), self._get, self._boot, str(log))
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
        files = self._host.files
        content = orjson.dumps(
            envoy_bootstrap.bootstrap(self.settings, files.clusters, files.routes), option=orjson.OPT_INDENT_2
        )
        write_whole(files.bootstrap, content)
        if not files.clusters.exists():
            self._host.publish("clusters", document(envoy_config.clusters(None, {}, self.settings))[1])
        if not files.routes.exists():
            self._host.publish("routes", document([envoy_config.routes(None, self.settings)])[1])
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

    def predictions(self) -> PredictionCounts:
        """Answered, refused and failed, over all lives of Envoy; read often, so that a crash loses little."""
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

    def _hosts(self) -> Sequence[EnvoyHost]:
        return (self._host,)

    def _renew(self) -> None:
        """Keep what is routed, with the routes and the collector of these settings."""
        split = self.read_back()
        endpoints = {name: one for name, one in self.endpoints().items() if one is not None}
        fixed = envoy_config.clusters(None, {}, self.settings)
        names = {cluster["name"] for cluster in fixed}
        self._set_clusters([*fixed, *(c for c in self._live("clusters") if c["name"] not in names)])
        self._set_routes(envoy_config.routes(split, self.settings, endpoints))

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
            raise UnavailableError(PART, in_words(error, PART)) from error
