"""Adds what is counted from events to the cases: as of the moment of each case, from the events known by then.

An event counts from the moment at which it is known until its window ends. So a count or a sum at a moment is what
came in until then less what has left, both looked up by an as-of join: the time it takes does not grow with the number
of events in a window. Only Min, Max and Distinct join each case with the events of its window.
"""

# DuckDB takes no parameters for names; they all go through `quote`.
# ruff: noqa: S608

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path

import duckdb

from capstan.data.event_reading import ENTITY, HAPPENED, KNOWN, read_events, text_of, value_of
from capstan.data.moments import column_types
from capstan.data.text_types import quote
from capstan.domain.event_windows import SCALE
from capstan.spec.events import Aggregate, Events
from capstan.spec.system import MLSystem

_EVENTS, _ASKED, _CAME, _READ = "_events_of", "_asked", "_came", "_read_events"
_LOG = logging.getLogger(__name__)
_PAIRED = ("Min", "Max", "Distinct")
_NEWEST = ("LastValue", "SecondsSinceLast")
_MASK = "18446744073709551615::hugeint"


def add_event_features(
    connection: duckdb.DuckDBPyConnection,
    system: MLSystem,
    cases: str,
    columns: Collection[str],
    *,
    as_of: datetime | None,
    threads: int,
    memory: int,
    secrets: Path,
) -> None:
    """Give the table `cases` those of `columns` that are aggregates, after its own; raises InvalidDataError.

    `cases` has the moment of each row and the columns of entities.
    """
    for index, events in enumerate(system.spec.data.events):
        wanted = [one for one in events.aggregates if one.name in columns]
        if not wanted:
            continue
        found = read_events(system, index, as_of=as_of, threads=threads, memory=memory, secrets=secrets)
        connection.register(_READ, found)
        connection.execute(
            f"create temp table {_EVENTS} as select *, "
            f"greatest({KNOWN}, {HAPPENED} + to_microseconds(1)) as entered from {_READ}"
        )
        connection.unregister(_READ)
        del found
        _join(connection, system, events, wanted, cases)
        for table in (_EVENTS, _ASKED):
            connection.execute(f"drop table {table}")


def _join(
    connection: duckdb.DuckDBPyConnection,
    system: MLSystem,
    events: Events,
    wanted: Sequence[Aggregate],
    cases: str,
) -> None:
    entity = text_of(quote(events.entity), column_types(connection, f"from {cases}")[events.entity])
    time = quote(system.spec.data.keys.time_column)
    connection.execute(
        f"create temp table {_ASKED} as select distinct {entity} as {ENTITY}, {time} as moment from {cases} "
        f"where {entity} is not null"
    )
    _warn_of_short_history(connection, events, wanted)
    for number, (table, names) in enumerate(_tables(system, wanted)):
        part = f"_part_{number}"
        connection.execute(f"create temp table {part} as {table}")
        items = ", ".join(f"{part}.{quote(name)}" for name in names)
        connection.execute(
            f"create temp table _wider as select {_ASKED}.*, {items} from {_ASKED} left join {part} using "
            f"({ENTITY}, moment)"
        )
        connection.execute(f"drop table {_ASKED}")
        connection.execute(f"drop table {part}")
        connection.execute(f"alter table _wider rename to {_ASKED}")
    items = ", ".join(f"{_ASKED}.{quote(one.name)}" for one in wanted)
    connection.execute(
        f"create temp table _wider as select {cases}.*, {items} from {cases} left join {_ASKED} on "
        f"{_ASKED}.{ENTITY} = {entity.replace(quote(events.entity), f'{cases}.{quote(events.entity)}')} and "
        f"{_ASKED}.moment = {cases}.{time}"
    )
    connection.execute(f"drop table {cases}")
    connection.execute(f"alter table _wider rename to {cases}")


def _tables(system: MLSystem, wanted: Sequence[Aggregate]) -> Iterator[tuple[str, list[str]]]:
    """Queries that give ENTITY, the moment and some of the aggregates, with the names of these."""

    def by_window(one: Aggregate) -> tuple[timedelta, bool]:
        return one.window, one.function in _PAIRED

    for (window, paired), group in groupby(sorted(wanted, key=by_window), key=by_window):
        ones = list(group)
        length = f"to_microseconds({window // timedelta(microseconds=1)})"
        names = [one.name for one in ones]
        if paired:
            yield _of_pairs(system, ones, window // timedelta(microseconds=1)), names
            continue
        newest = [one for one in ones if one.function in _NEWEST]
        added = [one for one in ones if one.function not in _NEWEST]
        if added:
            yield _of_sums(system, added, length), [one.name for one in added]
        for one in newest:
            yield _of_newest(system, one, length), [one.name]


def _of_sums(system: MLSystem, ones: Sequence[Aggregate], length: str) -> str:
    changes, items = ["1 as changed"], []
    totals = ["sum(sum(sign * changed)) over came as total"]
    for place, one in enumerate(ones):
        value = value_of(one, system)
        if value is None:
            items.append(f"coalesce(cast(total as double), 0.0) as {quote(one.name)}")
            continue
        column = quote(value.name)
        changes += [
            f"cast(trunc(coalesce({column}, 0.0) * {SCALE:.1f}) as hugeint) as added{place}",
            f"cast({column} is not null as integer) as valued{place}",
        ]
        totals += [
            f"sum(sum(sign * added{place})) over came as added{place}",
            f"sum(sum(sign * valued{place})) over came as valued{place}",
        ]
        found = f"(cast(added{place} >> 64 as double) + cast(added{place} & {_MASK} as double) / {SCALE:.1f})"
        if one.function == "Sum":
            items.append(f"coalesce({found}, 0.0) as {quote(one.name)}")
        else:
            items.append(
                f"case when valued{place} > 0 then {found} / cast(valued{place} as double) end as {quote(one.name)}"
            )
    counted = f"select {ENTITY}, entered, {HAPPENED}, {', '.join(changes)} from {_EVENTS}"
    inside = f"entered <= {HAPPENED} + {length}"
    came = (
        f"select {ENTITY}, entered as changed_at, 1 as sign, * exclude ({ENTITY}, entered, {HAPPENED}) "
        f"from ({counted}) where {inside} union all "
        f"select {ENTITY}, {HAPPENED} + {length} + to_microseconds(1) as changed_at, -1 as sign, "
        f"* exclude ({ENTITY}, entered, {HAPPENED}) from ({counted}) where {inside}"
    )
    totalled = (
        f"select {ENTITY}, changed_at, {', '.join(totals)} from ({came}) group by {ENTITY}, changed_at "
        f"window came as (partition by {ENTITY} order by changed_at)"
    )
    return (
        f"select asked.{ENTITY}, asked.moment, {', '.join(items)} from {_ASKED} as asked asof left join "
        f"({totalled}) as {_CAME} on asked.{ENTITY} = {_CAME}.{ENTITY} and asked.moment >= {_CAME}.changed_at"
    )


def _of_newest(system: MLSystem, one: Aggregate, length: str) -> str:
    value = value_of(one, system)
    column = "null" if value is None else quote(value.name)
    where = "" if value is None else f"where {column} is not null"
    newest = (
        f"select distinct {ENTITY}, entered, max({{'happened': {HAPPENED}, 'value': {column}}}) over "
        f"(partition by {ENTITY} order by entered) as newest from {_EVENTS} {where}"
    )
    found = (
        "newest.value"
        if value is not None
        else "cast(epoch_us(moment) - epoch_us(newest.happened) as double) / 1000000.0"
    )
    return (
        f"select asked.{ENTITY}, moment, case when newest.happened >= moment - {length} then {found} end "
        f"as {quote(one.name)} from {_ASKED} as asked asof left join ({newest}) as {_CAME} on "
        f"asked.{ENTITY} = {_CAME}.{ENTITY} and asked.moment >= {_CAME}.entered"
    )


def _of_pairs(system: MLSystem, ones: Sequence[Aggregate], window: int) -> str:
    items, kept = [], []
    for one in ones:
        value = value_of(one, system)
        if value is None:
            raise ValueError(f"{one.function} is of values")
        column = f"events.{quote(value.name)}"
        if one.function == "Distinct":
            items.append(f"cast(count(distinct {column}) as double) as {quote(one.name)}")
        else:
            items.append(f"{one.function.lower()}({column}) as {quote(one.name)}")
        kept.append(
            f"coalesce({quote(one.name)}, 0.0) as {quote(one.name)}" if one.function == "Distinct" else ""
        )
    # Time in steps as long as the window: the events of a window are in two steps, which joins by equality find.
    step = f"epoch_us(moment) // {window}"
    asked = f"select *, unnest([{step}, {step} - 1]) as step from {_ASKED}"
    events = f"select *, epoch_us({HAPPENED}) // {window} as step from {_EVENTS}"
    pairs = (
        f"select asked.{ENTITY}, asked.moment, {', '.join(items)} from ({asked}) as asked join ({events}) as events "
        f"on asked.{ENTITY} = events.{ENTITY} and asked.step = events.step "
        f"and events.entered <= asked.moment and events.{HAPPENED} >= asked.moment - to_microseconds({window}) "
        f"group by asked.{ENTITY}, asked.moment"
    )
    replaced = ", ".join(filter(None, kept))
    if not replaced:
        return pairs
    return (
        f"select * replace ({replaced}) from (select asked.{ENTITY}, asked.moment, pairs.* exclude ({ENTITY}, moment) "
        f"from {_ASKED} as asked left join ({pairs}) as pairs using ({ENTITY}, moment))"
    )


def _warn_of_short_history(
    connection: duckdb.DuckDBPyConnection, events: Events, wanted: Sequence[Aggregate]
) -> None:
    row = connection.execute(
        f"select (select min({HAPPENED}) from {_EVENTS}), min(moment), max(moment) from {_ASKED}"
    ).fetchone()
    if row is None or row[1] is None:
        return
    oldest, _, last = row
    if oldest is None:
        _LOG.warning("data.events: the source %r has no event that is known", events.source)
        return
    for one in wanted:
        if one.window > last - oldest:
            _LOG.warning(
                "data.events: the window of %r, %s, is longer than the history of %r, which begins %s before the last "
                "row: no row sees a full window",
                one.name,
                one.window,
                events.source,
                last - oldest,
            )
