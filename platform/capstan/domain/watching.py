"""What the monitor can say about a version: nothing found, or nothing seen, which must never look alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from capstan.domain.versions import VersionName


@dataclass(frozen=True)
class QuestionStanding:
    """Whether a question that the monitor asks of each window last had an answer."""

    name: str
    """Such as `drift`, `predictions` or `quality`."""
    unjudged: int
    """Windows in a row, up to the last, that could not be judged; 0: the last one was."""
    reason: str = ""
    """CamelCase, of the last window: `TooFewRows`, `CoverageTooLow`, `NoReference`, …; empty: it was judged."""
    message: str = ""
    """Why, in words with numbers."""
    end: datetime | None = None
    """End of the last window that was closed for this question; None: none yet."""
    trigger: str = ""
    """The rule of the file that heeds its alert, such as `drift`; empty: none."""


@dataclass(frozen=True)
class OnlineStanding:
    """What users did after answers of one version, by one online metric."""

    metric: str
    title: str
    """The metric as people read it."""
    better: Literal["Higher", "Lower"]
    version: VersionName
    value: float | None
    """Mean outcome of the units whose time is over; None: no such unit has one."""
    standard_error: float | None
    """Of the value; None with fewer than two units."""
    units: int
    """Units behind the value."""
    closed: int
    """Units whose time is over, those without an outcome among them."""
    assigned: int
    """Units whose first request this version answered."""
    delay: timedelta | None
    """Median time from a unit's first request to its events; None: there were none."""
    start: datetime
    """Requests from here on, up to `end`."""
    end: datetime

    @property
    def coverage(self) -> float:
        """Share of the units whose time is over."""
        return self.closed / self.assigned if self.assigned else 0.0


@dataclass(frozen=True)
class Standing:
    """All questions about the watched version, and what users did after answers of any."""

    version: VersionName | None
    """None: nothing is watched yet."""
    questions: tuple[QuestionStanding, ...] = ()
    online: tuple[OnlineStanding, ...] = ()
    """Online metrics in the order of the file, each of all versions that answered lately."""


def blind_spots(questions: Sequence[QuestionStanding]) -> str:
    """What could not be judged, in words; empty if all was, or no window has closed yet.

    Questions that fail for one reason are told together.
    """
    by_cause: dict[tuple[int, str], list[str]] = {}
    for question in questions:
        if question.unjudged:
            by_cause.setdefault((question.unjudged, question.message), []).append(question.name)
    return "; ".join(
        f"{_listed(names)} not judged in the last {'window' if count == 1 else f'{count} windows'}: {message}"
        for (count, message), names in by_cause.items()
    )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
