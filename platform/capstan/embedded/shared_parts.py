"""What several systems of one machine share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from capstan.adapters.alertmanager.server import AlertmanagerServer
from capstan.adapters.alertmanager.webhook import WebhookReceiver
from capstan.adapters.envoy.shared import SharedEnvoy
from capstan.adapters.processes.children import ProcessEvent, ProcessSupervisor
from capstan.adapters.prometheus.server import PrometheusServer
from capstan.embedded.layout import StateDir


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

    def end_requests(self) -> None:
        """End Envoy, when the first system that ends asks; from then on no service of any system is asked."""
        with self._lock:
            for remember in list(self.on_end.values()):
                remember()
            self.on_end.clear()
            self.envoy.stop()
