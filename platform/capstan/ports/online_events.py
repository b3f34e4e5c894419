"""Where a service looks up the events of an entity while a request waits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from capstan.domain.event_windows import Event


@dataclass(frozen=True)
class FoundEvents:
    """What a store holds of one entity, and how complete it is."""

    events: Sequence[Event]
    """In no order."""
    columns: tuple[str, ...]
    """Of the values of each event."""
    loaded_until: int | None
    """All events that were known by this moment (microseconds since 1970) are there; None: nothing was ever loaded."""
    oldest: int = 0
    """Of those that happened from this moment on; older ones are not there."""


class FindsEvents(Protocol):
    """What a service needs of a store; raises UnavailableError where the store does not answer."""

    def find(self, table: str, entity: str, *, since: int, before: int) -> FoundEvents:
        """Events of the entity with `since <= happened < before` that were known at `before`."""
        ...


class OnlineEvents(FindsEvents, Protocol):
    """Events by table and entity; all methods raise UnavailableError where the store does not answer."""

    def add(
        self,
        table: str,
        columns: tuple[str, ...],
        events: Iterable[tuple[str, Event]],
        *,
        loaded_until: int,
        oldest: int = 0,
    ) -> None:
        """Keep events with their entities, all or none. What is there already is not kept twice.

        Other `columns` than before replace the table. `loaded_until` never goes back. `oldest`: from which moment on
        the events that happened are there with these; one before that of the table says that older ones came too.
        """
        ...

    def state(self, table: str) -> tuple[tuple[str, ...], int | None]:
        """The table's columns and until when it is loaded; nothing and None for one that is not there."""
        ...

    def oldest(self, table: str) -> int | None:
        """From which moment on the events that happened are there; None for a table that is not."""
        ...

    def forget(self, table: str, *, before: int) -> int:
        """Drop events that happened before the moment; gives how many."""
        ...
