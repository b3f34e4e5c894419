"""Ends one system of a host while the others go on."""

from __future__ import annotations

import time
from dataclasses import dataclass

from capstan.embedded.host.members import forget, host_of, members
from capstan.embedded.layout import StateDir
from capstan.errors import CapstanError


@dataclass(frozen=True)
class Left:
    """A system that was taken away."""

    system: str
    host: int
    """Process id of the host."""
    others: list[str]
    """The systems that go on there."""


def leave(system: str, state: StateDir, *, wait_seconds: float) -> Left | None:
    """End the system of the folder; returns when nothing of it runs. None: no others run with it, so end the host.

    Raises CapstanError if it does not end in time.
    """
    host = host_of(state)
    holder = host.holder() if host is not None else None
    if host is None or holder is None:
        return None
    wanted = [one.system for one in members(host)]
    others = [one for one in wanted if one != system]
    if not others:
        return None
    forget(host, system)
    deadline = time.monotonic() + wait_seconds
    # After an error of its loop nobody holds the folder until the next start, but its processes answer.
    while state.holder() is not None or (system in wanted and state.addresses.exists()):
        if time.monotonic() > deadline:
            raise CapstanError(
                f"{system} did not end within {wait_seconds:g} s; `capstan down` ends process {holder} with all its "
                "systems"
            )
        time.sleep(0.1)
    return Left(system, holder, others)
