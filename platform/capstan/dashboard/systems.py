"""Which systems a page shows: one on one machine, many in a cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from capstan.dashboard.page import SystemShown
from capstan.dashboard.view import View
from capstan.domain.versions import RunName
from capstan.errors import NotFoundError, UnavailableError
from capstan.ports.store import Store

MACHINE = "machine"
"""What stands for a namespace in the addresses of one machine."""


@dataclass(frozen=True, order=True)
class SystemAddress:
    """Where a system is found: `/systems/NAMESPACE/NAME/`."""

    namespace: str
    name: str


class Systems(Protocol):
    """The systems behind a page. Threads share it."""

    @property
    def only(self) -> SystemAddress | None:
        """The one that the page's root shows; None: the root shows a list."""
        ...

    @property
    def unnamed(self) -> SystemAddress | None:
        """The one that programs mean who name none; None: they must."""
        ...

    def addresses(self) -> Sequence[SystemAddress]:
        """All of them, by namespace and name; costs no call."""
        ...

    def shown(self, address: SystemAddress) -> SystemShown:
        """Its line of the list; raises NotFoundError."""
        ...

    def view(self, address: SystemAddress) -> View:
        """Everything about it; always the same object for the same system, and another once it starts anew.

        Raises NotFoundError, and UnavailableError while it starts anew.
        """
        ...

    def mark(self, address: SystemAddress) -> object:
        """Equal while nothing that is stored of it has changed; None: nobody can say."""
        ...

    def store(self, address: SystemAddress) -> Store:
        """Its records; raises NotFoundError."""
        ...

    def log(self, address: SystemAddress, run: RunName) -> str:
        """The end of what a training run wrote; raises NotFoundError where nothing is kept of it, UnavailableError."""
        ...


def system_path(name: str) -> str:
    """Path of a system's page on one machine."""
    return f"/systems/{MACHINE}/{name}"


class OneSystem:
    """The system of this process."""

    def __init__(
        self,
        view: View,
        store: Store,
        name: str,
        *,
        log: Callable[[RunName], str] | None = None,
    ) -> None:
        self.only: SystemAddress | None = SystemAddress(MACHINE, name)
        self.unnamed = self.only
        self._view = view
        self._store = store
        self._log = log

    def addresses(self) -> Sequence[SystemAddress]:
        return [self.only] if self.only is not None else []

    def shown(self, address: SystemAddress) -> SystemShown:
        return replace(self.view(address).shown(), namespace=MACHINE)

    def view(self, address: SystemAddress) -> View:
        if address != self.only:
            raise NotFoundError(f"there is no system {address.name!r} here")
        return self._view

    def mark(self, address: SystemAddress) -> object:
        del address
        return None

    def store(self, address: SystemAddress) -> Store:
        self.view(address)
        return self._store

    def log(self, address: SystemAddress, run: RunName) -> str:
        self.view(address)
        if self._log is None:
            raise NotFoundError(f"no log of {run} is kept here")
        return self._log(run)


class MachineSystems:
    """The systems of a host of this machine, which come and go; threads share it."""

    def __init__(self, first: str | None) -> None:
        """`first`: the system whose pages may be open at the root: a second one must not end them."""
        self._first = first
        self._systems: dict[str, OneSystem] = {}
        self._stays: set[str] = set()
        self._lock = threading.Lock()

    def show(self, name: str, system: OneSystem) -> Callable[[], None]:
        """Show it from now on, in place of an older one of the name; returns what takes it away."""
        with self._lock:
            self._systems[name] = system
            self._stays.add(name)

        def take_away() -> None:
            with self._lock:
                if self._systems.get(name) is system:
                    del self._systems[name]

        return take_away

    def forget(self, name: str) -> None:
        """It has left for good; whoever names none means the only one from now on."""
        with self._lock:
            self._stays.discard(name)
            if self._first == name:
                self._first = None

    @property
    def only(self) -> SystemAddress | None:
        found = self.addresses()
        return found[0] if len(found) == 1 else None

    @property
    def unnamed(self) -> SystemAddress | None:
        return SystemAddress(MACHINE, self._first) if self._first is not None else self.only

    def addresses(self) -> Sequence[SystemAddress]:
        with self._lock:
            return sorted(one.only for one in self._systems.values() if one.only is not None)

    def shown(self, address: SystemAddress) -> SystemShown:
        return self._of(address).shown(address)

    def view(self, address: SystemAddress) -> View:
        return self._of(address).view(address)

    def mark(self, address: SystemAddress) -> object:
        del address
        return None

    def store(self, address: SystemAddress) -> Store:
        return self._of(address).store(address)

    def log(self, address: SystemAddress, run: RunName) -> str:
        return self._of(address).log(address, run)

    def _of(self, address: SystemAddress) -> OneSystem:
        with self._lock:
            found = self._systems.get(address.name)
            stays = address.namespace == MACHINE and address.name in self._stays
        if found is None and stays:
            raise UnavailableError(address.name, "starts anew")
        if found is None or found.only != address:
            raise NotFoundError(f"there is no system {address.name!r} here")
        return found
