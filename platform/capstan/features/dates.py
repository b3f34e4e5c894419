"""Parts of moments, such as the hour and the weekday, as clocks of a zone show them.

One value goes through Python's calendar. The many of a table's column go through whole numbers, with the same offsets
of the zone: the tests prove both equal, from the year 1 to 9999.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from capstan.domain.local_times import in_zone
from capstan.features.columns import Codes
from capstan.features.values import is_missing, moment_of_text

NO_PART = -1
"""In place of the part of a missing moment; parts are none of them negative."""
_SECOND = 10**6
_HOUR = 3600 * _SECOND
_DAY = 24 * _HOUR
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Part:
    """What a moment has a number of."""

    first: int
    """Its least number."""
    length: int | None
    """Numbers until it comes again; None: it never does."""
    of_moment: Callable[[datetime], int]
    of_columns: Callable[[Codes, Codes], Codes]
    """Of days since 1970 and of microseconds since midnight, both local."""
    moves: bool = True
    """Whether weeks that follow each other differ in it, so that it always drifts."""


def _months(days: Codes) -> Codes:
    return days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)


def _month(days: Codes) -> Codes:
    return _months(days) % 12 + 1


def _years(days: Codes) -> Any:
    return days.astype("datetime64[D]").astype("datetime64[Y]")


def _first_of(moments: Any) -> Codes:
    found: Codes = moments.astype("datetime64[D]").astype(np.int64)
    return found


PARTS = {
    "Minute": Part(0, 60, lambda at: at.minute, lambda _, clock: clock // (60 * _SECOND) % 60, moves=False),
    "Hour": Part(0, 24, lambda at: at.hour, lambda _, clock: clock // _HOUR, moves=False),
    "Weekday": Part(1, 7, datetime.isoweekday, lambda days, _: (days + 3) % 7 + 1, moves=False),
    "Day": Part(
        1,
        31,
        lambda at: at.day,
        lambda days, _: days - _first_of(days.astype("datetime64[D]").astype("datetime64[M]")) + 1,
    ),
    "DayOfYear": Part(
        1, 366, lambda at: at.timetuple().tm_yday, lambda days, _: days - _first_of(_years(days)) + 1
    ),
    "Month": Part(1, 12, lambda at: at.month, lambda days, _: _month(days)),
    "Quarter": Part(1, 4, lambda at: (at.month + 2) // 3, lambda days, _: (_month(days) + 2) // 3),
    "Year": Part(1, None, lambda at: at.year, lambda days, _: _years(days).astype(np.int64) + 1970),
}
"""By the name that the file has."""


def parts_of(value: object, zone: str, parts: Sequence[str]) -> tuple[int, ...] | None:
    """Of one value; None where it is missing, no moment, or outside the years 1 to 9999."""
    at = _local(value, zone)
    return None if at is None else tuple([PARTS[part].of_moment(at) for part in parts])


def parts_of_column(values: Any, zone: str, parts: Sequence[str]) -> Codes:
    """(rows, parts): the same of a column; NO_PART where there is none."""
    if type(values).__module__.split(".", 1)[0] == "pyarrow":
        found = _of_arrow(values, zone, parts)
        if found is not None:
            return found
        values = values.to_pylist()
    return _one_by_one(values, zone, parts)


def _one_by_one(values: Any, zone: str, parts: Sequence[str]) -> Codes:
    """Each moment is read once."""
    none, known = (NO_PART,) * len(parts), {}
    found = np.empty((len(values), len(parts)), dtype=np.int64)
    for row, value in enumerate(values):
        if value not in known:
            known[value] = parts_of(value, zone, parts) or none
        found[row] = known[value]
    return found


def _local(value: object, zone: str) -> datetime | None:
    if isinstance(value, str):
        at: Any = moment_of_text(value.strip(), zone)
    elif is_missing(value):
        return None
    elif isinstance(value, np.datetime64):
        # A whole number where it is outside Python's calendar.
        at = value.astype("datetime64[us]").item()
    else:
        # pandas' moments know fewer years than the calendar.
        plain = getattr(value, "to_pydatetime", None)
        at = value if plain is None else plain(warn=False)
    if isinstance(at, date) and not isinstance(at, datetime):
        at = datetime.combine(at, time())
    if not isinstance(at, datetime):
        return None
    try:
        return in_zone(at, zone).astimezone(ZoneInfo(zone))
    except (OverflowError, ValueError):
        return None


def _of_arrow(values: Any, zone: str, parts: Sequence[str]) -> Codes | None:
    """Of a column of instants; None for any other."""
    import pyarrow as pa

    if not pa.types.is_timestamp(values.type) or values.type.tz is None:
        return None
    is_there = np.asarray(values.is_valid())
    unit = 10 ** {"s": 0, "ms": 3, "us": 6, "ns": 9}[values.type.unit]
    counted = np.asarray(values.cast(pa.int64()).fill_null(0))
    first, last = int(counted.min(initial=0)), int(counted.max(initial=0))
    if not -(2**62) < first * _SECOND // unit <= last * _SECOND // unit < 2**62:
        return _one_by_one(values.to_pylist(), zone, parts)
    instants = counted // (unit // _SECOND) if unit >= _SECOND else counted * (_SECOND // unit)
    found = np.full((len(instants), len(parts)), NO_PART, dtype=np.int64)
    days, place = np.unique(instants // _DAY, return_inverse=True)
    offsets = np.array([_offset_of_day(day, zone) for day in days.tolist()], dtype=np.float64)[place]
    is_plain = is_there & ~np.isnan(offsets)
    local = instants[is_plain] + offsets[is_plain].astype(np.int64)
    for at, part in enumerate(parts):
        found[is_plain, at] = PARTS[part].of_columns(local // _DAY, local % _DAY)
    odd = np.flatnonzero(is_there & ~is_plain)
    if len(odd):
        found[odd] = _one_by_one([_instant(one) for one in instants[odd].tolist()], zone, parts)
    return found


def _offset_of_day(day: int, zone: str) -> float:
    """Microseconds, of a day of UTC; nan where clocks change in it, or where it is outside the local calendar."""
    begin = _instant(day * _DAY)
    end = _instant((day + 1) * _DAY - 1)
    if begin is None or end is None:
        return float("nan")
    try:
        offsets = {at.astimezone(ZoneInfo(zone)).utcoffset() for at in (begin, end)}
    except (OverflowError, ValueError):
        return float("nan")
    offset = offsets.pop()
    return float("nan") if offsets or offset is None else offset / timedelta(microseconds=1)


def _instant(microseconds: int) -> datetime | None:
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return None
