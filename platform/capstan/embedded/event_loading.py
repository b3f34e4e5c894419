"""Keeps the events that services look up fresh while a system runs, beside its loop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from capstan.data.event_loading import load_events
from capstan.domain.versions import SystemName
from capstan.embedded.layout import StateDir
from capstan.errors import CapstanError
from capstan.online.stores import LOAD_SECONDS, open_stores, servers_of
from capstan.spec.system import MLSystem

LOADS_PER_FRESHNESS = 4
SHORTEST_PAUSE, LONGEST_PAUSE = timedelta(seconds=2), timedelta(minutes=1)
_LOG = logging.getLogger(__name__)


def pause_of(system: MLSystem) -> timedelta:
    """Between two loads: some of them fit into the shortest freshness, so that one may fail."""
    shortest = min(events.freshness for events in system.spec.data.events)
    return min(max(shortest / LOADS_PER_FRESHNESS, SHORTEST_PAUSE), LONGEST_PAUSE)


@dataclass
class EventLoading:
    """Loads in a thread of its own, one load at a time: a look of the loop waits for no source."""

    state: StateDir
    say: Callable[[str], None]
    _next: float = 0.0
    """By the clock of `tick`."""
    _thread: threading.Thread | None = None
    _told: str = field(default="")
    """What was last said to be wrong."""

    def tick(self, system: MLSystem, seconds: float) -> None:
        """Begin a load if one is due; `seconds` of a clock that only goes forward."""
        is_busy = self._thread is not None and self._thread.is_alive()
        if not system.spec.data.events or is_busy or seconds < self._next:
            return
        self._next = seconds + pause_of(system).total_seconds()
        self._thread = threading.Thread(target=self._load, args=(system,), name="events", daemon=True)
        self._thread.start()

    def _load(self, system: MLSystem) -> None:
        store = None
        try:
            name = SystemName(system.metadata.name)
            store = open_stores(
                self.state.events(name),
                servers_of(system),
                system=name,
                secrets=self.state.secrets,
                timeout_seconds=LOAD_SECONDS,
            )
            load_events(system, store, now=datetime.now(UTC), secrets=self.state.secrets)
            problem = ""
        except CapstanError as error:
            problem = f"events could not be loaded: {error}"
        except Exception as error:
            _LOG.exception("events could not be loaded")
            problem = f"events could not be loaded: {error!r}"
        finally:
            if store is not None:
                store.close()
        if problem and problem != self._told:
            self.say(problem)
        self._told = problem
