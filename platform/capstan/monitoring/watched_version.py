"""What the windows of a watched version say: decided once, in event order, and kept.

Pure: a window's measurements come in, the alerts that they lead to come out. A window with too few rows or without
evidence is reported as such; it neither raises nor ends an alert of drift or quality, because it does not say that all
is well. Where that goes on, it is an alert of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

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
from capstan.monitoring.windows import DriftWindow, Gap, QualityWindow, WindowOutcome


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
    checked: tuple[Checked, ...] = ()
    """The newest estimates beside the truth, those of versions before this one too, oldest first."""

    @property
    def record(self) -> Record:
        """How far estimates can be believed."""
        return record_of(self.checked)

    def next_drift(self, duration: timedelta) -> tuple[datetime, datetime]:
        """The drift window to be decided next: where the last one ended, even if the file's duration changed since."""
        start = self.last_drift.end if self.last_drift is not None else self.since
        return start, start + duration

    def next_quality(self, duration: timedelta) -> tuple[datetime, datetime]:
        start = self.last_quality.end if self.last_quality is not None else self.since
        return start, start + duration

    def with_drift(self, window: DriftWindow) -> WatchedVersion:
        """The watch after one more drift window."""
        answers = answers_of("Drift", window)
        return replace(
            self,
            last_drift=window,
            decided_drift=self.decided_drift + 1,
            runs=runs_after(self.runs, answers),
            gaps=self._gaps_after(answers),
            awaited=awaiting(self.awaited, window),
        )

    def with_quality(self, window: QualityWindow) -> WatchedVersion:
        """The watch after one more quality window."""
        answers = answers_of("Quality", window)
        checked = check(self.awaited, window, self.version)
        return replace(
            self,
            last_quality=window,
            decided_quality=self.decided_quality + 1,
            runs=runs_after(self.runs, answers),
            gaps=self._gaps_after(answers),
            awaited=tuple(one for one in self.awaited if one.end > window.end),
            checked=(*self.checked, *([checked] if checked is not None else []))[-MOST_KEPT:],
        )

    def last(self, kind: Kind) -> DriftWindow | QualityWindow | None:
        """The last window of the kind."""
        return self.last_drift if kind == "Drift" else self.last_quality

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
                QuestionStanding(name, 0, end=end, trigger=trigger)
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

    def _gaps_after(self, answers: Mapping[str, Answer]) -> dict[str, Gap]:
        gaps = {name: gap for name, gap in self.gaps.items() if name not in answers}
        for name, answer in answers.items():
            if answer.gap is not None and QUESTIONS[name].tells_gaps:
                before = self.gaps.get(name)
                gaps[name] = replace(answer.gap, windows=1 + (before.windows if before is not None else 0))
        return gaps


def answers_of(kind: Kind, window: DriftWindow | QualityWindow) -> dict[str, Answer]:
    """The answers to all questions that are asked of windows of the kind, by question."""
    return {
        name: question.ask(window)
        for name, question in QUESTIONS.items()
        if question.kind == kind and question.is_asked(window)
    }


def runs_after(runs: Mapping[str, int], answers: Mapping[str, Answer]) -> dict[str, int]:
    """How many windows in a row breached, with one more window; no evidence neither adds nor takes."""
    found = dict(runs)
    for name, answer in answers.items():
        if answer.outcome is WindowOutcome.BREACH:
            found[name] = found.get(name, 0) + 1
        elif answer.outcome is WindowOutcome.FINE:
            found[name] = 0
    return found
