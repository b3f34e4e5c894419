"""The features of a row from the events that a store holds, and what is said where the store is behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from capstan.domain.event_windows import KEPT, aggregated
from capstan.errors import UnavailableError
from capstan.ports.online_events import FindsEvents

Stale = Literal["Refuse", "Missing", "Use"]


@dataclass(frozen=True)
class AskedAggregate:
    """One aggregate as a version has learnt it."""

    name: str
    function: str
    value: str | None
    """Column of the stored events; None for one of events themselves."""
    window: int
    """Microseconds."""

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> AskedAggregate:
        value = document["value"]
        return cls(
            str(document["name"]),
            str(document["function"]),
            None if value is None else str(value),
            int(document["window"]),
        )


@dataclass(frozen=True)
class AskedEvents:
    """One table of events as a version reads it."""

    table: str
    entity: str
    """Column of a request that says whose events count."""
    freshness: int
    """Microseconds."""
    stale: Stale
    aggregates: tuple[AskedAggregate, ...]

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> AskedEvents:
        """Raises KeyError, TypeError and ValueError."""
        stale = document["stale"]
        if stale not in ("Refuse", "Missing", "Use"):
            raise ValueError(f"{stale!r} says nothing of stale events")
        return cls(
            str(document["table"]),
            str(document["entity"]),
            int(document["freshness"]),
            stale,
            tuple(map(AskedAggregate.of_document, document["aggregates"])),
        )


@dataclass(frozen=True)
class Looked:
    """What was found for one row and one table."""

    values: Mapping[str, float | str | None]
    late: str = ""
    """Why the table is stale, to follow `is of events`; empty if it is fresh."""


def look_up(store: FindsEvents, asked: AskedEvents, entity: str | None, *, moment: int, now: int) -> Looked:
    """The features of a row of `moment`, asked for at `now` (microseconds since 1970).

    A row without an entity has none. Where the table is stale, the values are those that `stale: Use` gives: of the
    events that are there, and missing where nothing was ever loaded.
    """
    nothing: dict[str, float | str | None] = {one.name: None for one in asked.aggregates}
    if entity is None:
        return Looked(nothing)
    longest = max(one.window for one in asked.aggregates)
    try:
        found = store.find(asked.table, entity, since=moment - longest, before=moment)
    except UnavailableError as error:
        return Looked(nothing, f"whose store does not answer ({error})")
    if found.loaded_until is None:
        return Looked(nothing, "that were never loaded; run `capstan features`")
    places = {name: place for place, name in enumerate(found.columns)}
    lacking = [one.value for one in asked.aggregates if one.value is not None and one.value not in places]
    if lacking:
        return Looked(nothing, f"that were loaded without {lacking[0]!r}; run `capstan features`")
    values = {
        one.name: aggregated(
            one.function,
            [event for event in found.events if event.happened >= moment - one.window],
            None if one.value is None else places[one.value],
            moment,
        )
        for one in asked.aggregates
    }
    if moment < found.loaded_until - KEPT:
        return Looked(nothing, "that are no longer kept for a moment more than a day ago")
    if moment - longest < found.oldest:
        return Looked(nothing, "that are not kept as far back as its windows reach; run `capstan features`")
    age = now - found.loaded_until
    if age <= asked.freshness:
        return Looked(values)
    return Looked(
        values,
        f"loaded {age / 1e6:.0f} s ago, which is beyond the freshness of {asked.freshness / 1e6:.0f} s",
    )


def values_of(looked: Looked, stale: Stale) -> Mapping[str, float | str | None]:
    """What the model gets: with `Missing` nothing of what is stale."""
    return dict.fromkeys(looked.values) if looked.late and stale == "Missing" else looked.values


def names_of(asked: Sequence[AskedEvents]) -> dict[str, AskedEvents]:
    """Column -> the table that gives it."""
    return {one.name: events for events in asked for one in events.aggregates}
