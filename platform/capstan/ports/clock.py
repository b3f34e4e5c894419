"""Two clocks that must never be mixed up."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """`now` is the system's clock (event time in a replay); `wall` is real time. Both are aware, in UTC."""

    def now(self) -> datetime: ...

    def wall(self) -> datetime: ...
