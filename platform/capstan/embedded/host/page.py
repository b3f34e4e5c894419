"""The one page of a host, and what its loops are asked by Alertmanager and Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from capstan.dashboard.access import TokenAccess
from capstan.dashboard.app import create_app, host_doors
from capstan.dashboard.notifications import HostDoors
from capstan.dashboard.systems import MachineSystems
from capstan.embedded.page import serve, shown_system
from capstan.embedded.shared_parts import SharedParts
from capstan.embedded.wiring import Addresses, LocalSystem


class HostPage:
    """A list of the host's systems, and each of them; alone, a system has the page's root for itself."""

    def __init__(self, shared: SharedParts, addresses: Addresses, *, first: str | None) -> None:
        """Serves at once. Raises PortInUseError, UnavailableError."""
        self._systems = MachineSystems(first)
        self._doors = HostDoors(shared.webhook, self._systems)
        app = create_app(
            self._systems,
            TokenAccess(shared.folder.token("page")),
            doors=host_doors(self._doors),
            is_machine=True,
        )
        self.close = serve(app, addresses)

    def show(self, local: LocalSystem, *, on_alert: Callable[[], None]) -> Callable[[], None]:
        """Show the system from now on; returns what takes it away."""
        view, system = shown_system(local)
        take_away = self._systems.show(local.name, system)
        close = self._doors.open(local.name, view, on_alert)

        def end() -> None:
            close()
            take_away()

        return end

    def forget(self, system: str) -> None:
        """It has left for good."""
        self._systems.forget(system)
