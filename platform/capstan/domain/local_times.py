"""What a time without offset means."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from zoneinfo import ZoneInfo, available_timezones


def in_zone(moment: datetime, zone: str) -> datetime:
    """The moment in UTC; without offset it is one of the IANA zone `zone`.

    Where clocks changed, the later of both readings is meant, as in tables: nothing counts as known before it was.
    """
    if moment.tzinfo is not None:
        return moment.astimezone(UTC)
    where = ZoneInfo(zone)
    return max(moment.replace(tzinfo=where, fold=fold).astimezone(UTC) for fold in (0, 1))


def zone_named(name: str) -> str | None:
    """The IANA zone of that name, whatever its capitals; None where there is none."""
    return _zones().get(name.lower())


@cache
def _zones() -> Mapping[str, str]:
    return {name.lower(): name for name in available_timezones()}
