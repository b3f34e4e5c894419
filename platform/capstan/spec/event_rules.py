"""Rules between events, their sources, the keys of cases and the label."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from capstan.spec.finding import UNKNOWN
from capstan.spec.rule import JOINED_LISTS, Breach, Cel, rule

if TYPE_CHECKING:
    from capstan.spec.events import OnlineStore
    from capstan.spec.system import MLSystemSpec


@rule(
    "counts events up to the moment of each row, and data.keys.time is not there; name the column with that moment",
    Cel("!has(self.events) || size(self.events) == 0 || has(self.keys.time)", "data", "events"),
)
def events_need_a_moment(spec: MLSystemSpec) -> Iterator[Breach]:
    if spec.data.events and spec.data.keys.time is None:
        yield Breach(("spec", "data", "events"))


@rule("is no source; write the name of one of data.sources", why_no_cel=JOINED_LISTS)
def events_are_of_a_source(spec: MLSystemSpec) -> Iterator[Breach]:
    names = [source.name for source in spec.data.sources]
    for index, events in enumerate(spec.data.events):
        if events.source not in names and UNKNOWN not in names:
            message = f"{events.source!r} is no source; the sources are {', '.join(names[:20])}"
            yield Breach(("spec", "data", "events", index, "source"), message=message)


@rule("is the name of two aggregates; keep one or rename one", why_no_cel=JOINED_LISTS)
def aggregates_have_names_of_their_own(spec: MLSystemSpec) -> Iterator[Breach]:
    seen = set()
    for index, events in enumerate(spec.data.events):
        for position, one in enumerate(events.aggregates):
            if one.name in seen and one.name != UNKNOWN:
                yield Breach(("spec", "data", "events", index, "aggregates", position, "name"), one.name)
            seen.add(one.name)


@rule(
    "is a key, the label or its moment, which the query gives; give the aggregate another name",
    why_no_cel=JOINED_LISTS,
)
def aggregates_are_no_columns_of_the_query(spec: MLSystemSpec) -> Iterator[Breach]:
    keys, label = spec.data.keys, spec.data.label
    taken = {keys.id, keys.time, keys.sticky_by, keys.group, label.available_at, *spec.targets}
    taken |= set(spec.data.entities)
    for index, events in enumerate(spec.data.events):
        for position, one in enumerate(events.aggregates):
            if one.name in taken and one.name != UNKNOWN:
                yield Breach(("spec", "data", "events", index, "aggregates", position, "name"), one.name)


@rule(
    "is the label or its moment, so a request cannot carry it; name what says whose events count",
    Cel(
        "!has(self.data.events) || self.data.events.all(events, events.entity != self.objective.target)",
        field="data.events",
    ),
)
def entities_are_known_at_the_prediction(spec: MLSystemSpec) -> Iterator[Breach]:
    for index, events in enumerate(spec.data.events):
        if events.entity in (*spec.targets, spec.data.label.available_at) and events.entity != UNKNOWN:
            yield Breach(("spec", "data", "events", index, "entity"), events.entity)


@rule(
    "is the label, and the events do not say when it became known: a row would see labels from after its moment "
    "(leakage); write `availableAt` or `delay`",
    why_no_cel=JOINED_LISTS,
)
def labels_of_events_are_dated(spec: MLSystemSpec) -> Iterator[Breach]:
    label = spec.data.label
    for index, events in enumerate(spec.data.events):
        dated = events.available_at is not None or events.delay or events.time == label.available_at
        for position, one in enumerate(events.aggregates):
            if one.column in spec.targets and one.column not in (None, UNKNOWN) and not dated:
                yield Breach(("spec", "data", "events", index, "aggregates", position, "column"), one.column)


@rule(
    "shares its events with an entry before it (the same source, key and moments) and keeps them elsewhere; write the "
    "same `online` in both",
    why_no_cel=JOINED_LISTS,
)
def shared_events_lie_in_one_store(spec: MLSystemSpec) -> Iterator[Breach]:
    first: dict[str, OnlineStore | None] = {}
    for index, events in enumerate(spec.data.events):
        if first.setdefault(events.table, events.online) != events.online:
            yield Breach(("spec", "data", "events", index, "online"))


RULES = (
    events_need_a_moment,
    events_are_of_a_source,
    aggregates_have_names_of_their_own,
    aggregates_are_no_columns_of_the_query,
    entities_are_known_at_the_prediction,
    labels_of_events_are_dated,
    shared_events_lie_in_one_store,
)
