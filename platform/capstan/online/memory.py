"""Events in memory, for tests and for what runs in one process."""

from __future__ import annotations

from collections.abc import Iterable

from capstan.domain.event_windows import Event
from capstan.ports.online_events import FoundEvents


class MemoryEvents:
    """An OnlineEvents that ends with its process."""

    def __init__(self) -> None:
        self._events: dict[str, dict[str, set[Event]]] = {}
        self._oldest: dict[str, int] = {}
        self._state: dict[str, tuple[tuple[str, ...], int]] = {}

    def add(
        self,
        table: str,
        columns: tuple[str, ...],
        events: Iterable[tuple[str, Event]],
        *,
        loaded_until: int,
        oldest: int = 0,
    ) -> None:
        known, until = self.state(table)
        if known != columns:
            self._events.pop(table, None)
            self._oldest.pop(table, None)
            until = None
        self._oldest[table] = min(oldest, self._oldest.get(table, oldest))
        by_entity = self._events.setdefault(table, {})
        for entity, event in events:
            by_entity.setdefault(entity, set()).add(event)
        self._state[table] = columns, loaded_until if until is None else max(until, loaded_until)

    def state(self, table: str) -> tuple[tuple[str, ...], int | None]:
        return self._state.get(table, ((), None))

    def oldest(self, table: str) -> int | None:
        return self._oldest.get(table)

    def find(self, table: str, entity: str, *, since: int, before: int) -> FoundEvents:
        there = self._events.get(table, {}).get(entity, set())
        columns, until = self.state(table)
        counted = [event for event in there if event.counts(before, before - since)]
        return FoundEvents(counted, columns, until, self._oldest.get(table, 0))

    def forget(self, table: str, *, before: int) -> int:
        dropped = 0
        if table in self._oldest:
            self._oldest[table] = max(before, self._oldest[table])
        for entity, there in self._events.get(table, {}).items():
            kept = {event for event in there if event.happened >= before}
            dropped += len(there) - len(kept)
            self._events[table][entity] = kept
        return dropped
