"""What the windows of a watched version say: decided once, in event order, and kept.

Pure: a window's measurements come in, the decided window and the alerts it leads to come out. A window with too few
rows or without evidence is reported as such; it neither raises nor ends an alert of drift or quality, because it does
not say that all is well. Where that goes on, it is an alert of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from capstan.domain.watching import Question

BLIND_WINDOWS = 2
"""Windows in a row without a verdict that are an alert: one may be a holiday."""


class WindowOutcome(StrEnum):
    """What one window says about one question."""

    BREACH = "Breach"
    FINE = "Fine"
    NO_EVIDENCE = "NoEvidence"


@dataclass(frozen=True)
class FeatureDrift:
    """One feature in one window."""

    feature: str
    rows: int
    """Values that were there."""
    distance: float | None
    """None: no value in the window, or none in the reference."""
    threshold: float
    p_value: float | None
    missing_rate: float | None
    """None: the window has no rows."""
    missing_rise: float | None
    missing_threshold: float
    error: float = 0.0
    """Bound on the error of the distance; above 0 where a large window was sketched."""
    test: str = "KS"
    """`KS`, or `TotalVariation` beside the chi-squared test."""
    has_reference: bool = True
    """False: training saw no value of it, so only its missing rate is watched."""

    @property
    def drift(self) -> WindowOutcome:
        return _compare(self.distance, self.threshold)

    @property
    def missing(self) -> WindowOutcome:
        return _compare(self.missing_rise, self.missing_threshold)


@dataclass(frozen=True)
class Gap:
    """Why a question about a window has no answer."""

    reason: str
    message: str
    windows: int = 1
    """In a row, up to this one."""


@dataclass(frozen=True)
class DriftWindow:
    """Inputs and predictions of [start, end)."""

    number: int
    start: datetime
    end: datetime
    rows: int
    has_enough_rows: bool
    features: tuple[FeatureDrift, ...] = ()
    prediction: FeatureDrift | None = None
    min_rows: int = 0
    """Rows that it needed."""

    @property
    def drift(self) -> WindowOutcome:
        return self._all(feature.drift for feature in self.features if feature.has_reference)

    @property
    def missing(self) -> WindowOutcome:
        return self._all(feature.missing for feature in self.features)

    @property
    def predictions(self) -> WindowOutcome:
        if not self.has_enough_rows or self.prediction is None:
            return WindowOutcome.NO_EVIDENCE
        return self.prediction.drift

    @property
    def drift_gap(self) -> Gap | None:
        """Why the inputs were not judged; None: they were."""
        if self.drift is not WindowOutcome.NO_EVIDENCE:
            return None
        if (gap := self._too_few()) is not None:
            return gap
        silent = [feature.feature for feature in self.features if feature.drift is WindowOutcome.NO_EVIDENCE]
        if not any(feature.has_reference for feature in self.features):
            return Gap("NoReference", "the version carries no reference of its inputs; train it again")
        return Gap("NoValues", f"no value of {', '.join(silent)} in any request")

    @property
    def predictions_gap(self) -> Gap | None:
        """Why the predictions were not judged; None: they were."""
        if self.predictions is not WindowOutcome.NO_EVIDENCE:
            return None
        if (gap := self._too_few()) is not None:
            return gap
        if self.prediction is None:
            return Gap("NoReference", "the version carries no reference of its predictions; train it again")
        return Gap("NoValues", "the version answered no request")

    def _too_few(self) -> Gap | None:
        if self.has_enough_rows:
            return None
        return Gap("TooFewRows", f"{self.rows:,} of {self.min_rows:,} rows (monitoring.window.minRows)")

    def _all(self, decisions: Iterable[WindowOutcome]) -> WindowOutcome:
        """A breach of any is a breach; without one, a feature without evidence leaves the window undecided."""
        if not self.has_enough_rows:
            return WindowOutcome.NO_EVIDENCE
        seen = set(decisions)
        for decision in (WindowOutcome.BREACH, WindowOutcome.NO_EVIDENCE):
            if decision in seen:
                return decision
        return WindowOutcome.FINE if seen else WindowOutcome.NO_EVIDENCE


@dataclass(frozen=True)
class QualityWindow:
    """Labelled predictions of [start, end), judged when their labels were in."""

    number: int
    start: datetime
    end: datetime
    metric: str
    answered: int
    labelled: int
    coverage: float | None
    """Labelled share of what can have a label; None: nothing can."""
    value: float | None
    """None: coverage too low, too few rows, or not defined."""
    standard_error: float | None
    reference: float | None
    """The metric on the version's test window; None: the manifest does not tell."""
    drop: float | None
    drop_bound: float | None
    floor: float | None
    """The worst value that is no drop; None: no reference."""
    decision: WindowOutcome
    reason: str
    """CamelCase: `Fine`, `Dropped`, `CoverageTooLow`, `TooFewRows`, `Undefined`, `TooFewDays`, `NoReference`."""
    message: str = ""
    """The reason in words with numbers, where there is no verdict."""

    @property
    def gap(self) -> Gap | None:
        """Why it was not judged; None: it was."""
        return Gap(self.reason, self.message) if self.decision is WindowOutcome.NO_EVIDENCE else None


@dataclass(frozen=True)
class Runs:
    """How many windows in a row breached, per question; windows without evidence change nothing."""

    drift: int = 0
    missing: int = 0
    predictions: int = 0
    quality: int = 0

    def after(self, decisions: Mapping[str, WindowOutcome]) -> Runs:
        values = {}
        for name in ("drift", "missing", "predictions", "quality"):
            before: int = getattr(self, name)
            decision = decisions.get(name, WindowOutcome.NO_EVIDENCE)
            values[name] = {WindowOutcome.BREACH: before + 1, WindowOutcome.FINE: 0}.get(decision, before)
        return Runs(**values)


@dataclass(frozen=True)
class WatchedVersion:
    """Everything decided about the watched version; this is what a checkpoint holds."""

    version: str
    model_dir: str
    since: datetime
    last_drift: DriftWindow | None = None
    last_quality: QualityWindow | None = None
    runs: Runs = field(default_factory=Runs)
    decided_drift: int = 0
    """Number of drift windows decided so far: the number of the next one."""
    decided_quality: int = 0
    gaps: Mapping[str, Gap] = field(default_factory=dict)
    """Questions (`drift`, `predictions`, `quality`) that the last window left without an answer."""

    def next_drift(self, duration: timedelta) -> tuple[datetime, datetime]:
        """The drift window to be decided next: where the last one ended, even if the file's duration changed since."""
        start = self.last_drift.end if self.last_drift is not None else self.since
        return start, start + duration

    def next_quality(self, duration: timedelta) -> tuple[datetime, datetime]:
        start = self.last_quality.end if self.last_quality is not None else self.since
        return start, start + duration

    def with_drift(self, window: DriftWindow) -> WatchedVersion:
        """The watch after one more drift window."""
        decisions = {"drift": window.drift, "missing": window.missing, "predictions": window.predictions}
        return replace(
            self,
            last_drift=window,
            decided_drift=self.decided_drift + 1,
            runs=self.runs.after(decisions),
            gaps=self._gaps_after({"drift": window.drift_gap, "predictions": window.predictions_gap}),
        )

    def with_quality(self, window: QualityWindow) -> WatchedVersion:
        """The watch after one more quality window."""
        return replace(
            self,
            last_quality=window,
            decided_quality=self.decided_quality + 1,
            runs=self.runs.after({"quality": window.decision}),
            gaps=self._gaps_after({"quality": window.gap}),
        )

    def alerts(self, *, consecutive: int) -> tuple[str, ...]:
        """Names of the alerts that hold now, in a fixed order."""
        runs = self.runs
        held = {
            "DriftDetected": runs.drift >= consecutive,
            "PredictionDrifted": runs.predictions >= consecutive,
            "MissingValuesRose": runs.missing >= consecutive,
            "QualityDropped": runs.quality >= 1,
            "MonitorBlind": any(gap.windows >= BLIND_WINDOWS for gap in self.gaps.values()),
        }
        return tuple(name for name, holds in held.items() if holds)

    def questions(self) -> tuple[Question, ...]:
        """What the last windows could answer and what not."""
        ends = {"drift": self.last_drift, "predictions": self.last_drift, "quality": self.last_quality}
        found = []
        for name, last in ends.items():
            gap = self.gaps.get(name)
            end = last.end if last is not None else None
            found.append(
                Question(name, 0, end=end)
                if gap is None
                else Question(name, gap.windows, gap.reason, gap.message, end)
            )
        return tuple(found)

    def _gaps_after(self, found: Mapping[str, Gap | None]) -> dict[str, Gap]:
        gaps = {name: gap for name, gap in self.gaps.items() if name not in found}
        for name, gap in found.items():
            if gap is not None:
                before = self.gaps.get(name)
                gaps[name] = replace(gap, windows=1 + (before.windows if before is not None else 0))
        return gaps


def _compare(value: float | None, bound: float) -> WindowOutcome:
    if value is None or value != value:
        return WindowOutcome.NO_EVIDENCE
    return WindowOutcome.BREACH if value > bound else WindowOutcome.FINE
