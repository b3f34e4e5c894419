"""Which systems a page shows: one on one machine, many in a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from capstan.dashboard.page import SystemShown
from capstan.dashboard.view import View
from capstan.domain.versions import RunName
from capstan.errors import NotFoundError
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

    only: SystemAddress | None
    """The one that the page's root shows; None: the root shows a list."""

    def addresses(self) -> Sequence[SystemAddress]:
        """All of them, by namespace and name; costs no call."""
        ...

    def shown(self, address: SystemAddress) -> SystemShown:
        """Its line of the list; raises NotFoundError."""
        ...

    def view(self, address: SystemAddress) -> View:
        """Everything about it; always the same object for the same system. Raises NotFoundError."""
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
