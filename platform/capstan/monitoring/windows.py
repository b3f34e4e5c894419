"""What was measured in one window, before a question judges it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


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
    given_away: Mapping[str, float] = field(default_factory=dict)
    """Of all features together: the share of the distance that is lost without each; empty: not known."""
    failure: str = ""
    """Why its detector gave no distance, a person's own say; empty: it did not fail."""

    @property
    def drift(self) -> WindowOutcome:
        return compare(self.distance, self.threshold)

    @property
    def missing(self) -> WindowOutcome:
        return compare(self.missing_rise, self.missing_threshold)


@dataclass(frozen=True)
class Gap:
    """Why a question about a window has no answer."""

    reason: str
    message: str
    windows: int = 1
    """In a row, up to this one."""


@dataclass(frozen=True)
class Estimate:
    """What the metric of quality probably is in a window whose labels have not come yet."""

    metric: str
    decision: WindowOutcome
    reason: str
    """CamelCase: `Fine`, `Dropped`, `TooFewRows`, `NoEstimator`, `NotEstimable`, `OtherMetric`, `Undefined`,
    `TooFewDays`, `NoReference`, `OutsideCalibration`."""
    message: str = ""
    """The reason in words with numbers, where there is no verdict."""
    value: float | None = None
    """None: nothing could be estimated."""
    low: float | None = None
    """Of the interval for the window's true value; None: too few days behind the calibration."""
    high: float | None = None
    reference: float | None = None
    """The metric on the version's test window; None: the manifest does not tell."""
    floor: float | None = None
    outside: float | None = None
    """Share of rows unlike all that the calibration saw; None: it cannot be told."""
    is_asked: bool = False
    """Whether the file wants an alert by it."""

    @property
    def is_sure(self) -> bool:
        """Whether it claims that the true value lies within its interval."""
        return self.low is not None and self.reason in ("Fine", "Dropped")


def few_rows(rows: int, least: int) -> Gap:
    """Why nothing can be said about a window with fewer rows than the file asks for."""
    return Gap("TooFewRows", f"{rows:,} of {least:,} rows (monitoring.window.minRows)")


@dataclass(frozen=True)
class DriftWindow:
    """Inputs and predictions of [start, end)."""

    number: int
    start: datetime
    end: datetime
    rows: int
    has_enough_rows: bool
    features: tuple[FeatureDrift, ...] = ()
    outputs: tuple[FeatureDrift, ...] = ()
    """Of the watched version's answers."""
    together: tuple[FeatureDrift, ...] = ()
    """All features together, once for each way in which they are compared; empty: the file asks for none."""
    min_rows: int = 0
    """Rows that it needed."""

    numbers: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """What questions measured by themselves, by the question's name; finite."""
    estimate: Estimate | None = None
    """None: the version carries nothing to estimate by, and the file asks for no alert."""

    @property
    def too_few(self) -> Gap | None:
        """Why nothing can be said about the window; None: it has rows enough."""
        if self.has_enough_rows:
            return None
        return few_rows(self.rows, self.min_rows)


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
    """CamelCase: `Fine`, `Dropped`, `CoverageTooLow`, `TooFewRows`, `Undefined`, `TooFewDays`, `TooFewBlocks`,
    `NoReference`."""
    message: str = ""
    """The reason in words with numbers, where there is no verdict."""
    notes: tuple[str, ...] = ()
    """What was strange about the labels, a sentence each."""


def worst(outcomes: Iterable[WindowOutcome]) -> WindowOutcome:
    """A breach of any is a breach; without one, a part without evidence leaves the whole undecided."""
    seen = set(outcomes)
    for outcome in (WindowOutcome.BREACH, WindowOutcome.NO_EVIDENCE):
        if outcome in seen:
            return outcome
    return WindowOutcome.FINE if seen else WindowOutcome.NO_EVIDENCE


def compare(value: float | None, bound: float) -> WindowOutcome:
    """Above the bound is a breach; None and NaN are no evidence."""
    if value is None or value != value:
        return WindowOutcome.NO_EVIDENCE
    return WindowOutcome.BREACH if value > bound else WindowOutcome.FINE
