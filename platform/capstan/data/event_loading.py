"""Brings new events from their source into an online store, as far as they are known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from capstan.data.event_reading import ENTITY, HAPPENED, KNOWN, read_events, values_of
from capstan.data.memory import table_memory
from capstan.domain.event_windows import KEPT, Event
from capstan.ports.online_events import OnlineEvents
from capstan.spec.system import MLSystem

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class LoadedTable:
    """What one load brought of one table of events."""

    source: str
    table: str
    read: int
    """Events that were read: those that became known since the load before, that moment included."""
    forgotten: int
    """Events that no window reaches any more."""
    since: datetime | None
    """None: all that windows reach was read."""


def load_events(
    system: MLSystem, store: OnlineEvents, *, now: datetime, secrets: Path, whole: bool = False
) -> list[LoadedTable]:
    """Bring in what became known since the last load; doing it twice does it once.

    `whole` reads all that windows reach, whatever was loaded before: an event that was written late, with a moment from
    before the last load, is found by it alone. Raises InvalidDataError, UnavailableError.
    """
    found: list[LoadedTable] = []
    for index, events in enumerate(system.spec.data.events):
        if any(one.table == events.table for one in found):
            continue
        columns = tuple(value.name for value in values_of(events, system))
        there, until = store.state(events.table)
        longest = max(one.longest for one in system.spec.data.events if one.table == events.table)
        oldest = micros(now - longest) - KEPT
        kept = store.oldest(events.table)
        # Of a window that has become longer only the newest part would be there.
        is_short = until is None or there != columns or kept is None or kept > oldest
        since = None if whole or until is None or is_short else _EPOCH + until * _MICROSECOND
        table = read_events(
            system,
            index,
            as_of=now,
            known_since=since,
            threads=1,
            memory=table_memory(system.spec.training.resources),
            secrets=secrets,
        )
        store.add(
            events.table,
            columns,
            (one for one in events_of(table, columns) if one[1].happened >= oldest),
            loaded_until=micros(now),
            oldest=oldest,
        )
        forgotten = store.forget(events.table, before=oldest)
        found.append(LoadedTable(events.source, events.table, table.num_rows, forgotten, since))
    return found


def events_of(table: pa.Table, columns: tuple[str, ...]) -> Iterator[tuple[str, Event]]:
    """Events of `read_events` with their entities; those that are alike are numbered."""
    same: Counter[tuple[str, Event]] = Counter()
    for batch in table.to_batches():
        moments = [batch.column(name).cast(pa.int64()).to_pylist() for name in (HAPPENED, KNOWN)]
        values = [batch.column(name).to_pylist() for name in columns]
        rows = zip(*values, strict=True) if values else iter([()] * batch.num_rows)
        for entity, happened, known, row in zip(
            batch.column(ENTITY).to_pylist(), *moments, rows, strict=True
        ):
            event = Event(happened, known, tuple(row))
            same[entity, event] += 1
            yield entity, Event(happened, known, event.values, same[entity, event] - 1)


def micros(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND
