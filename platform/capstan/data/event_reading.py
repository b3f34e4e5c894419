"""Reads the events of one table: whose each is, when it happened, when it became known, and the values that count."""

# DuckDB takes no parameters for names; they all go through `quote`.
# ruff: noqa: S608

from __future__ import annotations

import difflib
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from capstan.data.lineage import Uses
from capstan.data.moments import AWARE, LOCAL, TEXT, clock_changes, column_types, instant, is_outside, moment
from capstan.data.query import SourceTables
from capstan.data.sources import Reading
from capstan.data.text_types import quote
from capstan.data.workspace import workspace
from capstan.domain.event_windows import LARGEST
from capstan.domain.payload_limits import EARLIEST, LATEST
from capstan.errors import InvalidDataError
from capstan.spec.events import OF_NUMBERS, WITHOUT_COLUMN, Aggregate, Events
from capstan.spec.system import MLSystem

ENTITY, HAPPENED, KNOWN = "entity", "happened", "known"
"""Columns of a table of events: text, and two moments (UTC)."""
_LOG = logging.getLogger(__name__)
_NUMBERS = (
    *("tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger", "ubigint"),
    *("double", "decimal", "hugeint", "uhugeint", "boolean"),
)


@dataclass(frozen=True)
class EventValue:
    """One column of the events as it is counted: as a number or as a text."""

    column: str
    is_number: bool

    @property
    def name(self) -> str:
        """Column of the table of events."""
        return f"{'number' if self.is_number else 'text'} {self.column}"


def value_of(one: Aggregate, system: MLSystem) -> EventValue | None:
    """What the aggregate reads of an event; None for one of events themselves."""
    if one.column is None or one.function in WITHOUT_COLUMN:
        return None
    is_number = one.function in OF_NUMBERS or (
        one.function == "LastValue" and one.name not in Uses.of(system).categories
    )
    return EventValue(one.column, is_number)


def values_of(events: Events, system: MLSystem) -> list[EventValue]:
    """All that is read of an event of this table, each once, whichever entry of `data.events` counts it."""
    alike = [
        one for other in system.spec.data.events if other.table == events.table for one in other.aggregates
    ]
    found = (value_of(one, system) for one in alike)
    return list(dict.fromkeys(value for value in found if value is not None))


def asked_events(system: MLSystem, columns: Collection[str]) -> list[dict[str, Any]]:
    """What a version whose features read `columns` must look up, as its manifest says it; durations in microseconds."""
    found = []
    for events in system.spec.data.events:
        ones = [one for one in events.aggregates if one.name in columns]
        if not ones:
            continue
        values = [value_of(one, system) for one in ones]
        found.append(
            {
                "table": events.table,
                "entity": events.entity,
                "freshness": events.freshness // timedelta(microseconds=1),
                "stale": events.stale,
                "aggregates": [
                    {
                        "name": one.name,
                        "function": one.function,
                        "value": None if value is None else value.name,
                        "window": one.window // timedelta(microseconds=1),
                    }
                    for one, value in zip(ones, values, strict=True)
                ],
            }
        )
    return found


def read_events(
    system: MLSystem,
    index: int,
    *,
    as_of: datetime | None,
    known_since: datetime | None = None,
    threads: int,
    memory: int,
    secrets: Path,
) -> pa.Table:
    """The events of `data.events[index]` that are known at `as_of`, in no order.

    Columns: ENTITY, HAPPENED, KNOWN and one for each of `values_of`: a double or a text. `known_since` leaves out those
    that were known before it. Raises InvalidDataError that names field, column and way out.
    """
    events, data = system.spec.data.events[index], system.spec.data
    field = f"data.events[{index}]"
    source = next(one for one in data.sources if one.name == events.source)
    values = values_of(events, system)
    named = {"key": events.key, "time": events.time, "availableAt": events.available_at}
    with workspace(threads=threads, memory=memory, zone=data.time_zone) as connection:
        tables = SourceTables(
            connection, [Reading(connection, source, as_of, system.base_dir, secrets, data.time_zone)]
        )
        whole = f"select * from {quote(source.name)}"
        there = tables.columns_of(whole) or []
        for part, column in named.items():
            if column is not None:
                _require_column(f"{field}.{part}", column, source.name, there)
        for other, entry in enumerate(data.events):
            for position, one in enumerate(entry.aggregates):
                if one.column is not None and entry.table == events.table:
                    part = f"data.events[{other}].aggregates[{position}].column"
                    _require_column(part, one.column, source.name, there)
        columns = list(dict.fromkeys([*filter(None, named.values()), *(value.column for value in values)]))
        numbers = frozenset(value.column for value in values if value.is_number)
        texts = frozenset(value.column for value in values) - numbers
        dates = frozenset(one for one in (events.time, events.available_at) if one is not None)
        items = ", ".join(map(quote, columns))
        query = f"select {items} from {quote(source.name)}"
        tables.read(query, query, Uses(frozenset({events.key}) | texts, frozenset(), numbers, dates))
        tables.run(query, columns, "_joined")
        found = _Columns(connection, tables, column_types(connection, "from _joined"), data.time_zone)
        happened = found.moment(f"{field}.time", events.time)
        known = (
            f"({happened} + to_microseconds({round(events.delay.total_seconds() * 1e6)}))"
            if events.available_at is None
            else found.moment(f"{field}.availableAt", events.available_at)
        )
        found.require_dated(f"{field}.time", events.time, happened)
        key = found.text(events.key)
        found.tell_of_nobodys(f"{field}.key", events.key, key)
        read = [
            f"{found.number(field, value.column) if value.is_number else found.text(value.column)} "
            f"as {quote(value.name)}"
            for value in values
        ]
        where = [f"{key} is not null", f"{known} < {moment(LATEST)}"]
        where += [f"{known} <= {moment(as_of)}"] if as_of is not None else []
        where += [f"{known} >= {moment(known_since)}"] if known_since is not None else []
        head = [f"{key} as {ENTITY}", f"{happened} as {HAPPENED}", f"{known} as {KNOWN}"]
        connection.execute(
            f"create temp table _events as select {', '.join([*head, *read])} from _joined where "
            f"{' and '.join(where)}"
        )
        connection.execute("set TimeZone = 'UTC'")
        return connection.sql("from _events").to_arrow_table()


def _require_column(field: str, column: str, source: str, there: Sequence[str]) -> None:
    if column in there:
        return
    close = difflib.get_close_matches(column, there, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"its columns are {', '.join(there)}"
    raise InvalidDataError(f"{field}: the source {source!r} has no column {column!r}; {hint}")


@dataclass(frozen=True)
class _Columns:
    """The columns of the events as SQL."""

    connection: duckdb.DuckDBPyConnection
    tables: SourceTables
    types: Mapping[str, str]
    zone: str

    def moment(self, field: str, name: str) -> str:
        kind, column = self.types[name], quote(name)
        way = "state it under `types` of the source, with `written` where it is not written as 2013-02-01T05:00:00Z"
        if kind not in (*AWARE, *LOCAL, TEXT):
            if self._count("true") == 0:
                return "cast(null as timestamptz)"
            raise InvalidDataError(f"{field}: column {name!r} is {kind.upper()}, not a moment; {way}")
        if kind == TEXT:
            bad = self._count(f"{column} is not null and try_cast({column} as timestamptz) is null")
            if bad:
                cells = "; ".join(
                    self.tables.first_cells(name, lambda value: f"try_cast({value} as timestamptz) is null")
                )
                raise InvalidDataError(
                    f"{field}: {bad} values of column {name!r} are no moments ({cells}); {way}"
                )
        for change in clock_changes(self.connection, "_joined", {name: kind}, self.zone):
            _LOG.warning("%s: %s", field, change)
        return f"cast({instant(column, kind, self.zone)} as timestamptz)"

    def require_dated(self, field: str, name: str, found: str) -> None:
        undated = self._count(f"{found} is null")
        if undated:
            raise InvalidDataError(
                f"{field}: {undated} events have no {name!r}, so nobody can say for which rows they count; fill it in, "
                "or leave such events out of the source"
            )
        if far := self._count(is_outside(found, EARLIEST, LATEST)):
            raise InvalidDataError(
                f"{field}: {far} values of column {name!r} are before {EARLIEST.year} or after {LATEST.year - 1}; "
                "correct them in the source"
            )

    def tell_of_nobodys(self, field: str, name: str, key: str) -> None:
        if nobodys := self._count(f"{key} is null"):
            _LOG.warning("%s: %d events have no %r and count for no row", field, nobodys, name)

    def text(self, name: str) -> str:
        """As the same id, or the same category, is written in a request."""
        return text_of(quote(name), self.types[name])

    def number(self, field: str, name: str) -> str:
        kind, column = self.types[name], quote(name)
        if kind == "null" or self._count("true") == 0:
            return "cast(null as double)"
        if kind == "float":
            # 0.1 that was stored in 32 bits is 0.1, as text files write it.
            value = f"cast(cast({column} as varchar) as double)"
        elif kind in _NUMBERS:
            value = f"cast({column} as double)"
        else:
            odd = "; ".join(str(cells) for cells in self.tables.odd_cells(name, least=0.0))
            raise InvalidDataError(
                f"{field}: column {name!r} is {kind.upper()}, and its aggregates are of numbers"
                f"{f': {odd}' if odd else ''}; correct these values, list a text that means missing under `missing` of "
                "the csv source, or state the column as Number under `types` of the source"
            )
        if big := self._count(f"isfinite({value}) and abs({value}) > {LARGEST!r}"):
            raise InvalidDataError(
                f"{field}: {big} values of column {name!r} are beyond {LARGEST:.0f}, up to which sums are exact; write "
                "the column in a larger unit"
            )
        # -0.0 and 0.0 are equal, and which of them is found would depend on the order.
        return f"case when isfinite({value}) then {value} + 0.0 end"

    def _count(self, condition: str) -> int:
        found = self.connection.execute(f"select count(*) from _joined where {condition}").fetchone()
        return int(found[0]) if found else 0


def text_of(column: str, kind: str) -> str:
    """The SQL expression of a column as the text by which entities are compared: 7.0 is 7, empty text is missing."""
    if kind in ("double", "float"):
        whole = f"{column} = trunc({column}) and abs({column}) < 1e15"
        column = f"case when {whole} then cast(cast({column} as bigint) as varchar) else cast({column} as varchar) end"
    elif kind == "decimal":
        # A database's 7.00 is the 7 of a request and of another table.
        whole = f"cast(cast({column} as hugeint) as varchar)"
        column = f"case when {column} = trunc({column}) then {whole} else rtrim(cast({column} as varchar), '0') end"
    return f"nullif(cast({column} as varchar), '')"
