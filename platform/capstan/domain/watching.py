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
    besides: str = ""
    """What the last window found that no alert is asked of, such as one slice that drifted, in words."""


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
class EstimateStanding:
    """What the quality of the last window probably is, and how often such estimates were right."""

    metric: str
    value: float | None
    """None: nothing could be estimated."""
    low: float | None
    """Of the interval that holds the true value of 95 windows of a hundred; None: it cannot be told."""
    high: float | None
    message: str
    """Why it may be wrong, or why there is none; empty: nothing speaks against it."""
    end: datetime
    """Of the window."""
    checked: int
    """Of the newest windows those in which the truth came."""
    held: int
    """Those of them in which it lay within the interval."""
    is_believed: bool
    """False: the intervals missed more often than chance explains, so that no alert is raised by them."""
    wrong: tuple[datetime, ...] = ()
    """Ends of the windows in which they missed."""

    def __str__(self) -> str:
        if self.value is None:
            told = f"{self.metric} is not estimated: {self.message}"
        else:
            interval = "" if self.low is None else f" ({self.low:.3f} to {self.high:.3f})"
            doubt = f", which may be wrong: {self.message}" if self.message else ""
            told = (
                f"{self.metric} {self.value:.3f}{interval} in the window to {self.end:%Y-%m-%d %H:%M}{doubt}"
            )
        if not self.checked:
            return f"{told}; no estimate has met its truth yet"
        record = f"the truth lay within the interval in {self.held} of {self.checked} windows"
        wrong = f", not in that to {self.wrong[-1]:%Y-%m-%d}" if self.wrong else ""
        silent = "" if self.is_believed else ": too often wrong, so that no alert is raised by it"
        return f"{told}; {record}{wrong}{silent}"


@dataclass(frozen=True)
class Standing:
    """All questions about the watched version, and what users did after answers of any."""

    version: VersionName | None
    """None: nothing is watched yet."""
    questions: tuple[QuestionStanding, ...] = ()
    online: tuple[OnlineStanding, ...] = ()
    """Online metrics in the order of the file, each of all versions that answered lately."""
    estimated: EstimateStanding | None = None
    """None: the watched version carries nothing to estimate by."""


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


def asides(questions: Sequence[QuestionStanding]) -> str:
    """What the last windows found beside their verdicts, in words; empty: nothing."""
    return "; ".join(question.besides for question in questions if question.besides)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
