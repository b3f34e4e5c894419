"""Moments in SQL: how a column becomes an instant, and what a local time means where clocks change.

A time without offset is one of the file's zone. Where it happened twice, at the end of summer time, the later of both
moments is meant, and where it never happened it is read with the offset from before the gap, which is again the later
of both readings: nothing counts as known before it was.
"""

# DuckDB takes no parameters for names; they all go through `quote`, texts through `literal`.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import duckdb

from capstan.data.text_types import literal, quote

AWARE = ("timestamp with time zone", "timestamptz_ns")
"""Ids of DuckDB's types that hold an instant."""
LOCAL = ("timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns", "date")
"""Ids of DuckDB's types that hold a date or a time of some zone."""
TEXT = "varchar"
_NO_OFFSET = r"'\s*\d{4}-\d{2}-\d{2}([ T]\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?)?\s*'"
_OVERLAPS = ("30 minutes", "1 hour", "2 hours", "3 hours")
_SHOWN = 3


@dataclass(frozen=True)
class ClockChange:
    """Local times of a column that a change of clocks made unclear."""

    column: str
    rows: int
    twice: bool
    """Whether they happened twice; else never."""
    examples: tuple[str, ...]
    zone: str

    def __str__(self) -> str:
        shown = ", ".join(self.examples)
        one = self.rows == 1
        times = f"column {self.column!r}: {self.rows} {'time' if one else 'times'} without offset"
        read = "it is read" if one else "each is read"
        if self.twice:
            return (
                f"{times} happened twice in {self.zone}, as clocks "
                f"were set back ({shown}); {read} as the later moment: write times with their offset to choose"
            )
        return (
            f"{times} never happened in {self.zone}, as clocks were "
            f"set forward ({shown}); {read} with the offset from before: write times with their offset"
        )


def column_types(connection: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
    """Column -> id of its type, such as `timestamp_ns` or `decimal`, whatever its precision is."""
    found = connection.sql(relation)
    return {name: str(kind.id) for name, kind in zip(found.columns, found.types, strict=True)}


def instant(column: str, kind: str, zone: str) -> str:
    """The SQL expression `column` of the type `kind` as an instant; null where it can't be read.

    The connection's time zone must be `zone`, because text without an offset is read in it.
    """
    if kind in AWARE or kind == TEXT:
        return f"try_cast({column} as timestamptz)"
    return f"timezone({literal(zone)}, try_cast({column} as timestamp))"


def ways_to_moments(column: str) -> str:
    """How a query makes moments of a column that holds something else."""
    return (
        f"derive the moment in data.query, such as strptime({column}, '%d.%m.%Y') or to_timestamp({column}::bigint) "
        "for seconds since 1970"
    )


def moment(at: datetime) -> str:
    """The moment as an SQL literal."""
    if at.tzinfo is None:
        raise ValueError("moments must be aware; give them a time zone")
    return f"timestamptz {literal(at.isoformat())}"


def is_outside(found: str, first: datetime, end: datetime | None) -> str:
    """Whether the SQL expression of an instant lies before `first`, or at `end` or later; None: it may be any later."""
    late = f" or {found} >= {moment(end)}" if end is not None else ""
    return f"({found} < {moment(first)}{late})"


def clock_changes(
    connection: duckdb.DuckDBPyConnection, table: str, columns: Mapping[str, str], zone: str
) -> list[ClockChange]:
    """The unclear local times of a table; `columns` maps a column to the id of its type."""
    if _never_changes(zone):
        return []
    there, back = f"timezone({literal(zone)}, ", ")"
    found = []
    for name, kind in columns.items():
        column = quote(name)
        if kind not in (*LOCAL, TEXT):
            continue
        local = f"try_cast({column} as timestamp)"
        if kind == TEXT:
            local = f"case when regexp_full_match({column}, {_NO_OFFSET}) then {local} end"
        first = f"{there}wall{back}"
        never = f"{there}{first}{back} <> wall"
        twice = " or ".join(
            f"{there}{first} - interval {literal(length)}{back} = wall" for length in _OVERLAPS
        )
        rows = connection.execute(
            f"select twice, count(*), (list(distinct cast(wall as varchar) order by cast(wall as varchar)))[:{_SHOWN}] "
            f"from (select wall, case when {never} then false when {twice} then true end as twice "
            f"from (select {local} as wall from {table}) where wall is not null) where twice is not null "
            "group by twice order by twice"
        ).fetchall()
        found += [ClockChange(name, count, both, tuple(shown), zone) for both, count, shown in rows]
    return found


def _never_changes(zone: str) -> bool:
    where = ZoneInfo(zone)
    offsets = {
        datetime(year, month, 1, tzinfo=where).utcoffset()
        for year in range(1970, 2038)
        for month in range(1, 13)
    }
    return len(offsets) == 1
