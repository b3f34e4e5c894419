"""What one pass of the loop has come to."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from capstan.domain.actions import Waiting
from capstan.engine.standstill import Standstill


@dataclass(frozen=True)
class Outcome:
    """One observe -> plan -> apply -> status pass."""

    changed: bool
    """Whether a record was written or an action was taken. Then the caller calls again at once."""
    waiting_for: Waiting
    message: str = ""
    """What is waited for, in words."""
    requeue_after: timedelta | None = None
    """Duration on the system's clock; None: nothing changes by time alone. A live loop also looks every few
    seconds.
    """
    standstill: Standstill = field(default_factory=Standstill)

    @property
    def is_settled(self) -> bool:
        """Whether there is nothing to do but wait."""
        return not self.changed
