"""What several systems of one machine share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from capstan.adapters.alertmanager import server as alertmanager_server
from capstan.adapters.alertmanager.server import AlertmanagerServer
from capstan.adapters.alertmanager.webhook import WebhookReceiver
from capstan.adapters.envoy import server as envoy_server
from capstan.adapters.envoy.shared import SharedEnvoy
from capstan.adapters.processes.children import ProcessEvent, ProcessPhase, ProcessSupervisor
from capstan.adapters.prometheus import server as prometheus_server
from capstan.adapters.prometheus.server import PrometheusServer
from capstan.embedded.layout import StateDir
from capstan.errors import UnavailableError

PROCESSES = (envoy_server.PROCESS, prometheus_server.PROCESS, alertmanager_server.PROCESS)
PAUSE_SECONDS = 0.1
"""Seconds between two looks at whether they run."""


@dataclass
class SharedParts:
    """One Envoy, one Prometheus, one Alertmanager, and the door for its notifications."""

    folder: StateDir
    """The host's own, which no system's state is in."""
    processes: ProcessSupervisor
    envoy: SharedEnvoy
    prometheus: PrometheusServer
    alertmanager: AlertmanagerServer
    webhook: WebhookReceiver
    on_event: dict[str, Callable[[ProcessEvent], None]] = field(default_factory=dict)
    """By system: who tells its story what became of a shared process."""
    on_end: dict[str, Callable[[], None]] = field(default_factory=dict)
    """By system: what it does before Envoy ends."""
    is_ending: bool = False
    """Whether all systems end: then none leaves the gateway, and what was routed stays written."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wait_until_running(self, timeout_seconds: float) -> None:
        """Return when all of them answer. The host's own loop restarts them; here is only looked.

        Raises UnavailableError of the first that does not run in time, that was given up, or that is to end.
        """
        deadline = time.monotonic() + timeout_seconds
        for name in PROCESSES:
            while True:
                status = self.processes.status().get(name)
                if status is not None and status.phase is ProcessPhase.RUNNING:
                    break
                is_over = status is not None and status.phase is ProcessPhase.GAVE_UP
                if is_over or self.is_ending or time.monotonic() > deadline:
                    why = status.message if status is not None else ""
                    raise UnavailableError(name, why or f"it did not run within {timeout_seconds:g} s")
                time.sleep(PAUSE_SECONDS)

    def end_requests(self) -> None:
        """End Envoy, when the first system that ends asks; from then on no service of any system is asked."""
        with self._lock:
            for remember in list(self.on_end.values()):
                remember()
            self.on_end.clear()
            self.envoy.stop()
