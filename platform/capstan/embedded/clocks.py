"""The two clocks of a system on one machine: wall time when live, event time in a replay."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta


class WallClock:
    """Live operation: both clocks are real time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def wall(self) -> datetime:
        return datetime.now(UTC)


class ReplayClock:
    """Event time moves only when the replay moves it; wall time stays real, for operations."""

    def __init__(self, start: datetime) -> None:
        self._now = start
        self._lock = threading.Lock()

    def now(self) -> datetime:
        with self._lock:
            return self._now

    def wall(self) -> datetime:
        return datetime.now(UTC)

    def advance_to(self, moment: datetime) -> None:
        """Move forward; a moment in the past is ignored, because event time never runs back."""
        with self._lock:
            self._now = max(self._now, moment)

    def charge(self, duration: timedelta) -> None:
        """Add the fixed time that the spec states for work that took some other real time."""
        with self._lock:
            self._now += duration


class StillClock(ReplayClock):
    """A replay without processes: its wall time moves by a second whenever event time moves."""

    def __init__(self, start: datetime) -> None:
        super().__init__(start)
        self._wall = start

    def wall(self) -> datetime:
        return self._wall

    def advance_to(self, moment: datetime) -> None:
        super().advance_to(moment)
        self._wall += timedelta(seconds=1)
