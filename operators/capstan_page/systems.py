"""All systems that a cluster's watches know, as the page's code asks for them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence

from capstan.cluster.watching.cache import WatchedKube
from capstan.cluster.wiring.viewing import ViewingWiring
from capstan.dashboard.listing import system_shown
from capstan.dashboard.page import SystemShown
from capstan.dashboard.systems import SystemAddress
from capstan.dashboard.view import StoreView
from capstan.domain.versions import RunName
from capstan.errors import CapstanError, NotFoundError
from capstan.ports.store import Kind, Store

KIND = "MLSystem"
_SHOWN = ("TrainingRun", "ModelRollout", "ConfigMap", "Deployment", "Pod", "SeldonDeployment")
"""Kinds whose change is seen at the next look."""


class ClusterSystems:
    """The systems of the namespaces that are watched."""

    only: SystemAddress | None = None
    unnamed: SystemAddress | None = None

    def __init__(self, cache: WatchedKube, wiring: ViewingWiring) -> None:
        self._cache = cache
        self._wiring = wiring
        self._lock = threading.Lock()
        self._views: dict[SystemAddress, tuple[str, StoreView]] = {}
        self._lines: dict[SystemAddress, tuple[object, SystemShown]] = {}

    def addresses(self) -> Sequence[SystemAddress]:
        return sorted(SystemAddress(*place) for place in self._cache.places(KIND))

    def shown(self, address: SystemAddress) -> SystemShown:
        """Made anew only when the system or its rollout has changed."""
        store = self._wiring.store(address.namespace)
        facts = self._cache.facts(KIND, address.namespace, address.name)
        if facts is None:
            raise _gone(address)
        rollouts = self._cache.versions(Kind.ROLLOUT, address.namespace, address.name)
        mark = (facts.uid, facts.version, rollouts)
        kept = self._lines.get(address)
        if kept is None or kept[0] != mark:
            record = store.get(Kind.SYSTEM, address.name)
            if record is None:
                raise _gone(address)
            kept = self._lines[address] = (mark, system_shown(store, record, address.namespace))
        return kept[1]

    def view(self, address: SystemAddress) -> StoreView:
        facts = self._cache.facts(KIND, address.namespace, address.name)
        if facts is None:
            raise _gone(address)
        with self._lock:
            kept = self._views.get(address)
            # One that is made anew under the same name is another system, with other tokens.
            if kept is None or kept[0] != facts.uid:
                view = self._wiring.view(address.namespace, address.name, facts.uid)
                kept = self._views[address] = (facts.uid, view)
                there = set(self._cache.places(KIND))
                for old in [one for one in self._views if (one.namespace, one.name) not in there]:
                    del self._views[old]
                    self._lines.pop(old, None)
            return kept[1]

    def mark(self, address: SystemAddress) -> object:
        facts = self._cache.facts(KIND, address.namespace, address.name)
        return facts and (
            facts.version,
            *(self._cache.versions(kind, address.namespace, address.name) for kind in _SHOWN),
        )

    def warm(self) -> None:
        """Make the list once, so that nobody waits for it."""
        for address in self.addresses():
            with contextlib.suppress(CapstanError):
                self.shown(address)

    def store(self, address: SystemAddress) -> Store:
        return self._wiring.store(address.namespace)

    def log(self, address: SystemAddress, run: RunName) -> str:
        return self._wiring.log(address.namespace, run)


def _gone(address: SystemAddress) -> NotFoundError:
    return NotFoundError(f"there is no system {address.name!r} in namespace {address.namespace!r}")
