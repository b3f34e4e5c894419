"""What a business event is: which are taken, and how two deliveries of one are told from a correction.

Of several deliveries of one `eventId` that are known at a moment, the one that became available last counts; those that
became available at the same instant are ordered by receipt, then by content, so that no order of reading changes what
is read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

import pyarrow as pa

from capstan.errors import InvalidRequestError
from capstan.recording.payloads import TIMESTAMP
from capstan.recording.posted import (
    Form,
    identity_of,
    moment_of,
    read_each,
    require_known,
    subject_of,
)
from capstan.spec.online import EVENT_PATTERN, LONGEST_EVENT

LARGEST_VALUE = 1e15
"""Values of events are below it, on both sides of 0: sums of them stay exact enough, and a typing error is told."""
_FIELDS = ("eventId", "event", "id", "requestId", "unit", "value", "at", "availableAt", "retract")
_NAME = re.compile(EVENT_PATTERN)
EVENT_COLUMNS = pa.schema(
    [
        ("event_id", pa.string()),
        ("event", pa.string()),
        ("entity_id", pa.string()),
        ("request_id", pa.string()),
        ("unit", pa.string()),
        ("value", pa.float64()),
        ("event_time", TIMESTAMP),
        ("retracted", pa.bool_()),
        ("available_at", TIMESTAMP),
        ("received_at", TIMESTAMP),
    ]
)


class Event(NamedTuple):
    """Something that somebody did after an answer, or the word that it was not so."""

    event_id: str
    event: str
    entity_id: str | None
    """With a request id: the item of its answer, of several."""
    request_id: str | None
    unit: str | None
    value: float | None
    event_time: datetime | None
    """None: when it was received."""
    available_at: datetime | None
    """None: when it was received."""
    retracted: bool

    @property
    def case(self) -> str:
        if self.unit is not None:
            return f"u{self.unit}"
        return f"r{self.request_id}" if self.request_id is not None else f"i{self.entity_id}"


def events_of(entries: list[Any], valued: Collection[str]) -> list[Event]:
    """The entries as events, all or none; raises InvalidRequestError that names the bad ones.

    `valued`: names of events that must carry a value, since a metric sums or averages them.
    """
    first: dict[str, str] = {}
    return read_each("events", entries, partial(_event, frozenset(valued), first))


def _event(valued: frozenset[str], first: dict[str, str], where: str, entry: dict[str, Any]) -> Event:
    require_known(entry, _FIELDS, where)
    identity = identity_of(where, entry, "eventId")
    if first.setdefault(identity, where) != where:
        rule = f"is also the id of {first[identity]}; send each event once, its correction in a later body"
        raise InvalidRequestError(f"{where}.eventId", identity, rule)
    event = entry.get("event")
    if not isinstance(event, str) or len(event) > LONGEST_EVENT or not _NAME.fullmatch(event):
        form = "letters, digits, dots, dashes and underscores, beginning with a letter"
        raise InvalidRequestError(f"{where}.event", event, f"must be a name of up to {LONGEST_EVENT} {form}")
    is_item = entry.get("requestId") is not None and entry.get("id") is not None
    name, subject = subject_of(
        where, entry, ("requestId", "unit") if is_item else ("id", "requestId", "unit")
    )
    retracted = entry.get("retract", False)
    if not isinstance(retracted, bool):
        raise InvalidRequestError(f"{where}.retract", retracted, "must be true or false")
    event_time, available_at = moment_of(where, entry, "at"), moment_of(where, entry, "availableAt")
    if event_time is not None and available_at is not None and available_at < event_time:
        rule = "is before `at`: nothing is known before it happened"
        raise InvalidRequestError(f"{where}.availableAt", entry["availableAt"], rule)
    return Event(
        event_id=identity,
        event=event,
        entity_id=identity_of(where, entry, "id") if is_item or name == "id" else None,
        request_id=subject if name == "requestId" else None,
        unit=subject if name == "unit" else None,
        value=_value(where, entry, is_needed=event in valued and not retracted),
        event_time=event_time,
        available_at=available_at,
        retracted=retracted,
    )


def _value(where: str, entry: dict[str, Any], *, is_needed: bool) -> float | None:
    value = entry.get("value")
    if value is None:
        if is_needed:
            rule = "is missing; a metric of the file sums or averages these events"
            raise InvalidRequestError(f"{where}.value", None, rule)
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidRequestError(f"{where}.value", value, "must be a finite number")
    if abs(value) >= LARGEST_VALUE:
        raise InvalidRequestError(f"{where}.value", value, f"must be below {LARGEST_VALUE:g}")
    return float(value)


def event_table(events: Iterable[tuple[Event, datetime]]) -> pa.Table:
    """Events with the moments of their receipt as one table, in the order in which they became available."""
    rows = sorted(events, key=lambda row: row[0].available_at or row[1])
    columns: dict[str, list[object]] = {
        name: [getattr(event, name) for event, _ in rows]
        for name in ("event_id", "event", "entity_id", "request_id", "unit", "value", "retracted")
    }
    columns["event_time"] = [event.event_time or received for event, received in rows]
    columns["available_at"] = [event.available_at or received for event, received in rows]
    columns["received_at"] = [received for _, received in rows]
    return pa.table({name: columns[name] for name in EVENT_COLUMNS.names}, schema=EVENT_COLUMNS)


EVENTS = Form(
    "events",
    "event",
    '{"events": [{"eventId": "...", "event": "purchase", "id": "...", "value": 12.5}]}',
    events_of,
    event_table,
)
