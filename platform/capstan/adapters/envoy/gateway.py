"""Envoy as the gateway on one machine: configured by files, moved without losing a request, read back from itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from capstan.adapters.envoy import config as envoy_config
from capstan.adapters.envoy.config import GatewaySettings, document
from capstan.adapters.envoy.host import EnvoyHost
from capstan.adapters.envoy.order import OrderedTraffic, versions_of
from capstan.adapters.envoy.server import EnvoyServer
from capstan.adapters.envoy.stats import EnvoyCounters, PredictionCounts
from capstan.adapters.processes.children import ProcessSupervisor
from capstan.domain.versions import VersionName
from capstan.ports.serving import Endpoint


class CountedGateway(OrderedTraffic):
    """What one system sees of the Envoy of this machine: its traffic, and its counts over all lives of Envoy."""

    def __init__(
        self,
        server: EnvoyServer,
        host: EnvoyHost,
        counters: Path,
        settings: GatewaySettings,
        *,
        port_of: Callable[[VersionName], int] | None = None,
        ready_timeout_seconds: float = 15.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`port_of`: where a version of this machine listens in this life; None: where it did in the last one."""
        super().__init__(settings, ready_timeout_seconds=ready_timeout_seconds, sleep=sleep)
        self._port_of = port_of
        self._server = server
        self._host = host
        self._counters = EnvoyCounters(counters, host.ask, server.boot)

    @property
    def address(self) -> str:
        """Where clients send requests."""
        return self._server.address

    @property
    def admin_address(self) -> str:
        """Where Prometheus finds `/stats/prometheus`."""
        return self._server.admin_address

    def remember(self) -> None:
        """Read the counters and keep them; call it at every tick, so that a crash of Envoy loses little."""
        self._counters.remember()

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
        """Keep what is routed, with the routes and the collector of these settings.

        Nothing is kept if a version listens elsewhere now: its port was taken, or its system's state was made anew.
        The split would be obeyed, and no request answered.
        """
        split = self.read_back()
        endpoints = {name: one for name, one in self.endpoints().items() if one is not None}
        fixed = envoy_config.clusters(None, {}, self.settings)
        if self._have_moved(versions_of(split), endpoints):
            self._set_routes(envoy_config.routes(None, self.settings))
            self._set_clusters(fixed)
            return
        names = {cluster["name"] for cluster in fixed}
        self._set_clusters([*fixed, *(c for c in self._live("clusters") if c["name"] not in names)])
        self._set_routes(envoy_config.routes(split, self.settings, endpoints))

    def _have_moved(
        self, versions: frozenset[VersionName], endpoints: Mapping[VersionName, Endpoint]
    ) -> bool:
        if self._port_of is None:
            return False
        ports = {name: one.port for name, one in endpoints.items()}
        return any(ports.get(name) != self._port_of(name) for name in versions)


class EnvoyGateway(CountedGateway):
    """The TrafficProvider of a system with an Envoy of its own: `start()` it, then `apply` splits.

    Restarts of either side do no harm.
    """

    def __init__(
        self,
        supervisor: ProcessSupervisor,
        folder: Path,
        settings: GatewaySettings,
        *,
        port_of: Callable[[VersionName], int] | None = None,
        ready_timeout_seconds: float = 15.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        server = EnvoyServer(supervisor, folder, settings)
        super().__init__(
            server,
            server.host,
            folder.resolve() / "counters.json",
            server.settings,
            port_of=port_of,
            ready_timeout_seconds=ready_timeout_seconds,
            sleep=sleep,
        )

    def start(self) -> None:
        """Run Envoy, or adopt a running one with the same settings; returns when it listens.

        Raises PortInUseError, MissingToolError, UnavailableError with the end of its log.
        """
        files = self._server.files
        if not files.clusters.exists():
            self._host.publish("clusters", document(envoy_config.clusters(None, {}, self.settings))[1])
        if not files.routes.exists():
            self._host.publish("routes", document([envoy_config.routes(None, self.settings)])[1])
        self._server.start()
        self._renew()

    def stop(self) -> None:
        """Count a last time, then stop Envoy; the configuration stays for the next start."""
        self.remember()
        self._server.stop()
