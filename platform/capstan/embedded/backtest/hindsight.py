"""What an alert was worth, told by labels that nobody had then: false alarms, and how late the true ones came.

A *window hurts* when a version is worse in it than on its test window by more than the file's own
`monitoring.quality.maxDrop`, with every label known. Windows are as long as the file's own. The version's model is
asked about all rows of a window, whoever answered them: so a version that was replaced in time is judged as any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from capstan.domain.reasons import Reason
from capstan.engine.story import StoryEntry
from capstan.monitoring.questions import QUESTIONS
from capstan.monitoring.questions.blind import BLIND
from capstan.monitoring.windows import WindowOutcome
from capstan.spec.tasks import MetricFacts

WINDOWS_AFTER = 4
"""So many windows after the one that raised an alert may hurt for the alert to be a true one."""
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Hurting:
    """What hurts, by the file itself and never by the policy that is judged."""

    facts: MetricFacts
    max_drop: float
    window: timedelta


@dataclass(frozen=True)
class JudgedAlert:
    """An alert of the story."""

    at: datetime
    reason: str
    version: str
    is_false: bool | None
    """None: the history ends before that is known."""


@dataclass(frozen=True)
class Reign:
    """A champion, from its promotion to its replacement."""

    version: str
    since: datetime
    until: datetime


@dataclass(frozen=True)
class Broken:
    """A window in which a version's quality dropped, as the monitor saw it."""

    version: str
    end: datetime


def broken_of(windows: Sequence[Mapping[str, Any]]) -> list[Broken]:
    """Of windows as the monitor tells them."""
    return [
        Broken(str(told["version"]), datetime.fromisoformat(told["end"]))
        for told in windows
        if (told.get("quality") or {}).get("decision") == WindowOutcome.BREACH
    ]


Measure = Callable[[str, datetime, datetime], float]
"""(version, start, end) -> the metric of the version's model on all labelled rows of the window; nan: not defined."""


def reigns_of(story: Sequence[StoryEntry], end: datetime) -> list[Reign]:
    """Champions in their order, up to the end of the history."""
    crowned = [
        (entry.at, str(entry.details["challenger"]))
        for entry in story
        if entry.reason in (Reason.FIRST_DEPLOYED, Reason.PROMOTED) and entry.details.get("challenger")
    ]
    ends = [*(at for at, _ in crowned[1:]), end]
    return [Reign(version, at, until) for (at, version), until in zip(crowned, ends, strict=True)]


def alerts_of(story: Sequence[StoryEntry]) -> list[StoryEntry]:
    """Firings that say that something hurts: a monitor that says that it can't judge is neither right nor wrong."""
    others = (Reason.ALERT_RESOLVED, BLIND.name)
    return [entry for entry in story if "alert" in entry.details and entry.reason not in others]


def judge_alerts(
    story: Sequence[StoryEntry],
    references: Mapping[str, float],
    hurting: Hurting,
    measure: Measure,
    end: datetime,
    broken: Sequence[Broken] = (),
) -> list[JudgedAlert]:
    """An alert is false if neither the window that it is about nor one of the next four hurts its version.

    An alert of quality waits for labels: it is about the last of the `broken` windows. Any other ends with its window.
    """
    found = []
    for entry in alerts_of(story):
        version = str(entry.details.get("champion", ""))
        begin = _end_of_window(entry, version, broken) - hurting.window
        drops = [
            _drop(references, hurting, measure, version, begin + hurting.window * number, end)
            for number in range(WINDOWS_AFTER + 1)
        ]
        hurts = any(drop > hurting.max_drop for drop in drops)
        is_false = False if hurts else True if np.isfinite(drops).all() else None
        found.append(JudgedAlert(entry.at, entry.reason, version, is_false))
    return found


def _end_of_window(alert: StoryEntry, version: str, broken: Sequence[Broken]) -> datetime:
    ends = [one.end for one in broken if one.version == version and one.end <= alert.at]
    is_late = alert.reason == QUESTIONS["quality"].alert.name and bool(ends)
    return max(ends) if is_late else alert.at


@dataclass(frozen=True)
class Delays:
    """How long champions that hurt went on."""

    days: tuple[float, ...]
    """Of each, from the start of its first window that hurts to its alert, or to its end where none came."""
    missed: int
    """Reigns that hurt and ended, or the history did, without an alert about their champion."""

    @property
    def mean(self) -> float | None:
        return float(np.mean(self.days)) if self.days else None


def delays_of(
    story: Sequence[StoryEntry],
    references: Mapping[str, float],
    hurting: Hurting,
    measure: Measure,
    end: datetime,
) -> Delays:
    """Only whole windows of a reign count; an alert before the first window that hurts has no delay."""
    days: list[float] = []
    missed = 0
    alerts = alerts_of(story)
    for reign in reigns_of(story, end):
        start = reign.since
        while start + hurting.window <= reign.until:
            drop = _drop(references, hurting, measure, reign.version, start, reign.until)
            if np.isfinite(drop) and drop > hurting.max_drop:
                break
            start += hurting.window
        else:
            continue
        told = [
            one.at
            for one in alerts
            # At the moment of a promotion an alert may still be about who reigned before.
            if reign.since <= one.at <= reign.until and one.details.get("champion") == reign.version
        ]
        missed += not told
        days.append(max(0.0, ((min(told) if told else reign.until) - start) / DAY))
    return Delays(tuple(days), missed)


def _drop(
    references: Mapping[str, float],
    hurting: Hurting,
    measure: Measure,
    version: str,
    start: datetime,
    end: datetime,
) -> float:
    """By how much the version is worse in the window than on its test window; nan: nobody can tell."""
    if version not in references or start + hurting.window > end:
        return float("nan")
    value = measure(version, start, start + hurting.window)
    return hurting.facts.sign * (references[version] - value)


def rows_between(times: npt.NDArray[np.int64], start: int, end: int) -> slice:
    """Rows of ascending times, in microseconds, in [start, end)."""
    first, last = np.searchsorted(times, [start, end])
    return slice(int(first), int(last))


def as_json(alerts: Sequence[JudgedAlert]) -> list[dict[str, Any]]:
    """For the result of a policy."""
    return [
        {"at": one.at.isoformat(), "reason": one.reason, "version": one.version, "is_false": one.is_false}
        for one in alerts
    ]
