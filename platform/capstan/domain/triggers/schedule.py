"""A training starts when the calendar says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar
from zoneinfo import ZoneInfo

from cronsim import CronSim

from capstan.domain.triggers.trigger import Trigger, TriggerKind, TriggerRule, TriggerSight

if TYPE_CHECKING:
    from capstan.domain.retraining import RetrainingState

_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class ScheduleTrigger(TriggerRule):
    """Moments of a cron line, in a zone's local time.

    Where clocks are set, Debian's cron is followed: a moment in an hour that does not exist comes right after it, and
    one in an hour that comes twice comes once.
    """

    name: ClassVar[str] = "schedule"
    cron: str
    """Minute, hour, day, month, weekday."""
    time_zone: str = "UTC"

    def due(self, seen: TriggerSight, state: RetrainingState, now: datetime) -> Trigger | None:
        since = state.begun or seen.champion_since
        if since is None:
            return None
        moment = self.last(now)
        # Any training that has begun at the moment or later has done what the calendar asks for.
        if moment is None or moment <= since:
            return None
        return Trigger(TriggerKind.SCHEDULE, moment, f"schedule {self.cron}: {self._local(moment)}")

    def outlook(self, seen: TriggerSight, now: datetime) -> str:
        moment = self.next(now)
        return f"schedule {self.cron}: next {self._local(moment)}" if moment is not None else ""

    def last(self, now: datetime) -> datetime | None:
        """The newest moment up to `now`, in UTC; None: there was none in fifty years."""
        return _last(self.cron, self.time_zone, _whole_minute(now))

    def next(self, now: datetime) -> datetime | None:
        """The first moment after `now`, in UTC; None: there is none in fifty years."""
        return _next(self.cron, self.time_zone, _whole_minute(now))

    def moments(self, after: datetime, until: datetime, most: int) -> list[datetime]:
        """Its moments after the one and up to the other, in UTC; `most` at most."""
        found: list[datetime] = []
        moment = self.next(after)
        while moment is not None and moment <= until and len(found) < most:
            found.append(moment)
            moment = self.next(moment)
        return found

    def _local(self, moment: datetime) -> str:
        return f"{moment.astimezone(ZoneInfo(self.time_zone)):%Y-%m-%d %H:%M %Z}"


def _whole_minute(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(second=0, microsecond=0)


@lru_cache(maxsize=64)
def _last(cron: str, time_zone: str, minute: datetime) -> datetime | None:
    # Its moments end before the one that it is given.
    return _first(CronSim(cron, (minute + _MINUTE).astimezone(ZoneInfo(time_zone)), reverse=True))


@lru_cache(maxsize=64)
def _next(cron: str, time_zone: str, minute: datetime) -> datetime | None:
    return _first(CronSim(cron, minute.astimezone(ZoneInfo(time_zone))))


def _first(moments: Iterator[datetime]) -> datetime | None:
    found = next(moments, None)
    return None if found is None else found.astimezone(UTC)
