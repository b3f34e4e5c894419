"""What the windows of a watched version say: decided once, in event order, and kept.

Pure: a window's measurements come in, the alerts that they lead to come out. A window with too few rows or without
evidence is reported as such; it neither raises nor ends an alert of drift or quality, because it does not say that all
is well. Where that goes on, it is an alert of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeVar

from capstan.domain.watching import EstimateStanding, QuestionStanding
from capstan.monitoring.estimates.record import (
    MOST_KEPT,
    Awaited,
    Checked,
    Record,
    awaiting,
    check,
    record_of,
)
from capstan.monitoring.questions import QUESTIONS, Kind, alerts
from capstan.monitoring.questions.blind import BLIND, BLIND_WINDOWS
from capstan.monitoring.questions.question import Answer
from capstan.monitoring.windows import (
    Concept,
    DriftWindow,
    Gap,
    OnlineDrift,
    QualityWindow,
    WindowOutcome,
)

T = TypeVar("T")
Asked = DriftWindow | QualityWindow | OnlineDrift
"""What questions are asked of."""


@dataclass(frozen=True)
class WatchedVersion:
    """Everything decided about the watched version; this is what a checkpoint holds."""

    version: str
    model_dir: str
    since: datetime
    last_drift: DriftWindow | None = None
    last_quality: QualityWindow | None = None
    runs: Mapping[str, int] = field(default_factory=dict)
    """Windows in a row that breached, by question; windows without evidence change nothing."""
    decided_drift: int = 0
    """Number of drift windows decided so far: the number of the next one."""
    decided_quality: int = 0
    gaps: Mapping[str, Gap] = field(default_factory=dict)
    """Of questions that the last window left without an answer, by question."""
    awaited: tuple[Awaited, ...] = ()
    """Estimates whose truth has not come."""
    concept: Concept | None = None
    """What the last window with labels told of the losses; None: no window had any."""
    online: OnlineDrift | None = None
    """What online detectors say; None: the file names none."""
    ends: tuple[datetime, ...] = ()
    """Of windows by rows whose labels are awaited: where the last rows of each were is decided once."""
    checked: tuple[Checked, ...] = ()
    """The newest estimates beside the truth, those of versions before this one too, oldest first."""

    @property
    def record(self) -> Record:
        """How far estimates can be believed."""
        return record_of(self.checked)

    def next_drift(self, duration: timedelta, step: timedelta) -> tuple[datetime, datetime]:
        """The drift window to be decided next: it ends a step after the last one, even if the file changed since."""
        if self.last_drift is None:
            return self.since, self.since + duration
        end = self.last_drift.end + step
        return max(self.since, end - duration), end

    @property
    def drift_decided_to(self) -> datetime:
        """From when on no drift window is decided."""
        return self.last_drift.end if self.last_drift is not None else self.since

    def next_quality(self, duration: timedelta | None) -> tuple[datetime, datetime] | None:
        """The window of quality to be decided next. None: where it ends is not known.

        It ends where a drift window by rows did; after those by `duration`, which is None where the file counts rows.
        """
        start = self._undecided
        if self.ends:
            return start, self.ends[0]
        return None if duration is None else (start, start + duration)

    def is_judged_by_labels(self, start: datetime, end: datetime) -> bool:
        """Whether a window of quality to come is just this one; of drift windows that overlap, most are not."""
        first = self._undecided
        return start >= first and not (start - first) % (end - start)

    def with_drift(self, window: DriftWindow) -> WatchedVersion:
        """The watch after one more drift window."""
        answers = {**answers_of("Drift", window), **answers_of("Rows", self.online)}
        unasked = unasked_of("Drift", window) | unasked_of("Rows", self.online)
        return replace(
            self,
            last_drift=window,
            decided_drift=self.decided_drift + 1,
            runs=_without(runs_after(self.runs, answers), unasked),
            gaps=_without(self._gaps_after(answers), unasked),
            awaited=awaiting(self.awaited, window)
            if window.wanted_rows or self.is_judged_by_labels(window.start, window.end)
            else self.awaited,
            ends=self._ends_after(window),
        )

    def with_online(self, found: OnlineDrift | None) -> WatchedVersion:
        """The watch after more rows; what they lack is counted by windows."""
        runs = {**self.runs, **dict.fromkeys(answers_of("Rows", found), 0)}
        unasked = unasked_of("Rows", found)
        return replace(
            self,
            online=found,
            runs=_without(runs_after(runs, answers_of("Rows", found)), unasked),
            gaps=_without(self.gaps, unasked),
        )

    def with_quality(self, window: QualityWindow) -> WatchedVersion:
        """The watch after one more quality window."""
        answers, unasked = answers_of("Quality", window), unasked_of("Quality", window)
        checked = check(self.awaited, window, self.version)
        return replace(
            self,
            last_quality=window,
            concept=self._concept_after(window),
            decided_quality=self.decided_quality + 1,
            runs=_without(runs_after(self.runs, answers), unasked),
            gaps=_without(self._gaps_after(answers), unasked),
            awaited=tuple(one for one in self.awaited if one.end > window.end),
            ends=tuple(end for end in self.ends if end > window.end),
            checked=(*self.checked, *([checked] if checked is not None else []))[-MOST_KEPT:],
        )

    def last(self, kind: Kind) -> Asked | None:
        """The last window of the kind; of rows what they say now."""
        of_kind: dict[Kind, Asked | None] = {
            "Drift": self.last_drift,
            "Quality": self.last_quality,
            "Rows": self.online,
        }
        return of_kind[kind]

    def alerts(self, *, consecutive: int) -> tuple[str, ...]:
        """Names of the alerts that hold now, in a fixed order."""
        held = {
            question.alert.name
            for name, question in QUESTIONS.items()
            if self.runs.get(name, 0) >= question.windows_needed(consecutive)
            and question.is_believed(self.record)
        }
        if any(gap.windows >= BLIND_WINDOWS for gap in self.gaps.values()):
            held.add(BLIND.name)
        return tuple(alert.name for alert in alerts() if alert.name in held)

    def questions(self) -> tuple[QuestionStanding, ...]:
        """What the last windows could answer and what not."""
        found = []
        for name, asked in QUESTIONS.items():
            if not asked.tells_gaps:
                continue
            gap, last, trigger = self.gaps.get(name), self.last(asked.kind), asked.alert.trigger
            if not asked.is_asked(last):
                continue
            end = last.end if last is not None else None
            found.append(
                QuestionStanding(
                    name,
                    0,
                    end=end,
                    trigger=trigger,
                    besides=asked.ask(last).besides if last is not None else "",
                )
                if gap is None
                else QuestionStanding(name, gap.windows, gap.reason, gap.message, end, trigger)
            )
        return tuple(found)

    def estimated(self) -> EstimateStanding | None:
        """What the last window's quality probably is, and how often such estimates were right; None: no estimate."""
        last = self.last_drift
        if last is None or last.estimate is None:
            return None
        found, record = last.estimate, self.record
        return EstimateStanding(
            metric=found.metric,
            value=found.value,
            low=found.low,
            high=found.high,
            message=found.message,
            end=last.end,
            checked=record.checked,
            held=record.held,
            is_believed=not record.is_bad,
            wrong=tuple(one.end for one in self.checked if one.is_sure and not one.held),
        )

    @property
    def _undecided(self) -> datetime:
        """From when on no window of quality is decided."""
        return self.last_quality.end if self.last_quality is not None else self.since

    def _ends_after(self, window: DriftWindow) -> tuple[datetime, ...]:
        if not window.wanted_rows:
            return self.ends
        known = self.ends[-1] if self.ends else self._undecided
        # What windows by time have left undecided before the first by rows is judged as one.
        return (*self.ends, *([window.start] if window.start > known else []), window.end)

    def _concept_after(self, window: QualityWindow) -> Concept | None:
        found, before = window.concept, self.concept
        if found is None:
            # The file names no detector any more: what the last one saw has a hole from now on.
            return None
        if before is None or before.detector == found.detector:
            return before if found.outcome is WindowOutcome.NO_EVIDENCE else found
        # Another detector was named: what the last one saw means nothing to it.
        return None if found.outcome is WindowOutcome.NO_EVIDENCE else found

    def _gaps_after(self, answers: Mapping[str, Answer]) -> dict[str, Gap]:
        gaps = {name: gap for name, gap in self.gaps.items() if name not in answers}
        for name, answer in answers.items():
            if answer.gap is not None and QUESTIONS[name].tells_gaps:
                before = self.gaps.get(name)
                gaps[name] = replace(answer.gap, windows=1 + (before.windows if before is not None else 0))
        return gaps


def answers_of(kind: Kind, window: Asked | None) -> dict[str, Answer]:
    """The answers to all questions that are asked of windows of the kind, by question."""
    return {
        name: question.ask(window)
        for name, question in QUESTIONS.items()
        if question.kind == kind and question.is_asked(window)
    }


def unasked_of(kind: Kind, window: Asked | None) -> frozenset[str]:
    """The questions of the kind that this window is not asked, as the file no longer wants them."""
    return frozenset(
        name
        for name, question in QUESTIONS.items()
        if question.kind == kind and not question.is_asked(window)
    )


def _without(found: Mapping[str, T], unasked: frozenset[str]) -> dict[str, T]:
    """What is known of other questions: an alert of one that nobody asks any more would hold for ever."""
    return {name: one for name, one in found.items() if name not in unasked}


def runs_after(runs: Mapping[str, int], answers: Mapping[str, Answer]) -> dict[str, int]:
    """How many windows in a row breached, with one more window; no evidence neither adds nor takes."""
    found = dict(runs)
    for name, answer in answers.items():
        if answer.outcome is WindowOutcome.BREACH:
            found[name] = found.get(name, 0) + 1
        elif answer.outcome is WindowOutcome.FINE:
            found[name] = 0
    return found
