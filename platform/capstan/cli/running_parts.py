"""What runs around a stored system: its processes or pods, its addresses and counters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from capstan.cli.place import Machine
from capstan.cli.stored_system import StoredSystem, read_json, replayed_to
from capstan.cluster.places import Cluster
from capstan.errors import NotAllowedError, UnavailableError

if TYPE_CHECKING:
    from capstan.embedded.layout import StateDir
    from capstan.ports.store import Event

_COUNTERS = ("answered", "stored", "lost", "duplicates", "labels", "no_labels")


@dataclass(frozen=True)
class RunningParts:
    """One look at what is not in the store."""

    runner: int | str | None
    """Process id of the supervisor, or the operator that acts; None: nothing runs."""
    replayed_to: datetime | None = None
    """Where the system's clock stands after a replay; None: it is real time."""
    page: str | None = None
    """With its token, so that one click opens it; None while no page is served."""
    gateway: str | None = None
    processes: list[dict[str, Any]] = field(default_factory=list)
    """Name, and `pid` or, of a pod, `state`."""
    counters: dict[str, int] | None = None
    """None: nothing runs, or the collector does not answer."""
    budgets: dict[str, float] = field(default_factory=dict)
    """Share of what may fail that each promise of `monitoring.slos` has left; of a cluster none is told."""


def running_parts(stored: StoredSystem, events: list[tuple[int, Event]]) -> RunningParts:
    """Everything that processes or pods say."""
    if isinstance(stored.place, Cluster):
        return _in_cluster(stored.place, stored)
    return _here(stored.place, stored.name, events)


def _here(place: Machine, system: str, events: list[tuple[int, Event]]) -> RunningParts:
    state, holder = place.state, place.runner()
    addresses: Mapping[str, str] = (read_json(state.addresses) or {}) if holder else {}
    return RunningParts(
        runner=holder,
        replayed_to=replayed_to(state, events),
        page=f"{addresses['page']}/?token={state.page_token()}" if "page" in addresses else None,
        gateway=addresses.get("gateway"),
        processes=_processes(state),
        counters=_counters(state) if holder else None,
        budgets=_budgets(state, system) if holder else {},
    )


def _budgets(state: StateDir, system: str) -> dict[str, float]:
    from capstan.cli.wiring import prometheus
    from capstan.monitoring.budgets import BUDGET_LEFT

    folder = state.host if state.host is not None else state
    port = (read_json(folder.processes / "ports.json") or {}).get("prometheus")
    if port is None:
        return {}
    try:
        found = prometheus(port).instant(f'{BUDGET_LEFT}{{system="{system}"}}')
    except UnavailableError:
        return {}
    return {sample.labels["slo"]: sample.value for sample in found}


def _processes(state: StateDir) -> list[dict[str, Any]]:
    from capstan.adapters.processes.table import living_processes

    return [
        {"name": process.name, "pid": process.pid}
        for folder in (state, *([state.host] if state.host is not None else []))
        for process in sorted(living_processes(folder.processes), key=lambda process: process.name)
    ]


def _counters(state: StateDir) -> dict[str, int] | None:
    import httpx

    ports = read_json(state.processes / "ports.json") or {}
    if "collector" not in ports:
        return None
    try:
        stats = httpx.get(f"http://127.0.0.1:{ports['collector']}/stats", timeout=2).raise_for_status().json()
    except (httpx.HTTPError, ValueError):
        return None
    counts = {name: int(stats[name]) for name in _COUNTERS if name in stats}
    refused = int(stats.get("refused_requests", 0))
    return {"answered": counts.pop("answered", 0) - refused, "refused": refused, **counts}


def _in_cluster(place: Cluster, stored: StoredSystem) -> RunningParts:
    from capstan.cluster.names import SystemNames
    from capstan.spec.providers import DEFAULT, PROVIDERS

    names = SystemNames(place.namespace, stored.name)
    traffic = stored.record.spec.get("serving", {}).get("traffic", {})
    provider = PROVIDERS[traffic.get("provider", DEFAULT)]
    return RunningParts(
        runner=place.runner(),
        # Another provider's ingress has a name of its own.
        gateway=f"http://{names.host(names.gateway)}" if provider.has_gateway else None,
        processes=[{"name": pod["metadata"]["name"], "state": pod_state(pod)} for pod in pods(place, stored)],
    )


def pods(place: Cluster, stored: StoredSystem) -> list[dict[str, Any]]:
    """All pods of the system by name; none where they may not be seen."""
    from capstan.cluster.names import SYSTEM_LABEL

    try:
        found = place.kube.list("Pod", place.namespace, labels={SYSTEM_LABEL: stored.name})
    except NotAllowedError:
        return []
    return sorted(found, key=lambda pod: str(pod["metadata"]["name"]))


def pod_state(pod: Mapping[str, Any]) -> str:
    """As `kubectl get pods` would say it, in short."""
    status = pod.get("status") or {}
    if "deletionTimestamp" in pod["metadata"]:
        return "Terminating"
    containers = status.get("containerStatuses") or ()
    for container in containers:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason"):
            return str(waiting["reason"])
    phase = str(status.get("phase", "Unknown"))
    if phase != "Running":
        return phase
    return "Ready" if containers and all(one.get("ready") for one in containers) else "NotReady"
