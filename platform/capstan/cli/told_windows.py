"""Windows as the monitor has told them, wherever it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from capstan.cluster.places import Cluster

if TYPE_CHECKING:
    from capstan.adapters.kubernetes.client import KubeClient
    from capstan.cli.place import Place
    from capstan.domain.versions import SystemName


def told_windows(place: Place, system: SystemName) -> list[dict[str, Any]]:
    """Oldest first; of one machine they are read from its file. Raises CapstanError."""
    if not isinstance(place, Cluster):
        from capstan.verbs.drifting import windows_on_machine

        return windows_on_machine(place.state, system)
    from capstan.cluster.monitor_pod import ask_monitor
    from capstan.cluster.names import SystemNames

    names = SystemNames(place.namespace, system)
    windows: list[dict[str, Any]] = ask_monitor(cast("KubeClient", place.kube), names, "/windows")["windows"]
    return windows
