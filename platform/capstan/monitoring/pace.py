"""How often a live monitor looks, and how long after its end a window closes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

LONGEST_SECONDS = 60.0
SHORTEST_INTERVAL_SECONDS = 5.0


@dataclass(frozen=True)
class LivePace:
    """Of a monitor that looks by the wall clock."""

    interval_seconds: float
    grace_seconds: float
    """A window closes so long after its end, so that payloads of its last second are stored by then."""


BY_ROWS = timedelta(minutes=2)
"""What a window by rows is taken for: it may fill up at any time."""


def live_pace(window: timedelta, *, flush_seconds: float) -> LivePace:
    """A window of minutes is decided within half a minute of its end, a longer one within two.

    `flush_seconds`: how often the collector stores what it has taken.
    """
    seconds = window.total_seconds()
    return LivePace(
        interval_seconds=min(LONGEST_SECONDS, max(SHORTEST_INTERVAL_SECONDS, seconds / 10)),
        grace_seconds=min(LONGEST_SECONDS, max(1.5 * flush_seconds, seconds / 4)),
    )
