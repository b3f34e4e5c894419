"""Which state folder a system lives in."""

from __future__ import annotations

from capstan.embedded.layout import StateDir
from capstan.embedded.wiring import open_store
from capstan.ports.store import Kind


def where_lives(state: StateDir, system: str) -> StateDir:
    """The folder of the system that is named: this one, or the one beside another system that is here."""
    own = state.beside(system)
    if own.store.exists():
        return own
    if not state.store.exists():
        return state
    with open_store(state) as store:
        here = {record.system for kind in (Kind.SYSTEM, Kind.RUN) for record in store.list(kind)}
    return own if here and system not in here else state
