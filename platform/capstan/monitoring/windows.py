"""What was measured in one window, before a question judges it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

NO_LABELS = "NoLabels"
"""Reason of a window whose file promises no labels, and for which none came."""


class WindowOutcome(StrEnum):
    """What one window says about one question."""

    BREACH = "Breach"
    FINE = "Fine"
    NO_EVIDENCE = "NoEvidence"


@dataclass(frozen=True)
class Move:
    """Rows with some values of a feature whose share of all rows changed."""

    what: str
    """In words: `weather=snow`, `temp up to -5`."""
    before: float
    """Their share in what the window is compared with: the training data, or earlier requests."""
    now: float


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
    moves: tuple[Move, ...] = ()
    """The values whose shares changed most, where the distance is above the threshold."""
    failure: str = ""
    """Why its detector gave no distance, a person's own say; empty: it did not fail."""

    @property
    def drift(self) -> WindowOutcome:
        return compare(self.distance, self.threshold)

    @property
    def missing(self) -> WindowOutcome:
        return compare(self.missing_rise, self.missing_threshold)


@dataclass(frozen=True)
class SliceDrift:
    """One feature among the rows of one slice."""

    slice: str
    """Such as `carrier=UA`."""
    feature: str
    rows: int
    distance: float
    threshold: float

    @property
    def is_above(self) -> bool:
        return self.distance > self.threshold


@dataclass(frozen=True)
class SlicesDrift:
    """All slices of a window: they say where a drift is, and are a question of their own if the file asks it."""

    farthest: tuple[SliceDrift, ...] = ()
    """Those that are farthest above their threshold first, a few of them."""
    moved: int = 0
    """Pairs of slice and feature above their threshold."""
    compared: int = 0
    """Slices with rows enough."""
    too_few: int = 0
    """Slices with fewer."""
    least_rows: int = 0
    left_out: tuple[str, ...] = ()
    """Which slices of the file are never compared, and why."""
    is_asked: bool = False
    """Whether the file wants an alert by slices too."""
    gap: Gap | None = None
    """Why no slice could be compared; None: some were."""

    @property
    def above(self) -> tuple[SliceDrift, ...]:
        """Those of `farthest` that moved."""
        return tuple(one for one in self.farthest if one.is_above)

    @property
    def outcome(self) -> WindowOutcome:
        if self.gap is not None:
            return WindowOutcome.NO_EVIDENCE
        return WindowOutcome.BREACH if self.moved else WindowOutcome.FINE


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


@dataclass(frozen=True)
class Concept:
    """What the losses of a version's labelled answers say, from its first window to this one."""

    detector: str
    metric: str
    """Whose losses they are."""
    loss: float | None = None
    """The mean of this window; None: it has no labels enough, or there is nothing to compare it with."""
    reference: float | None = None
    """The mean of the test window."""
    outcome: WindowOutcome = WindowOutcome.NO_EVIDENCE
    since: datetime | None = None
    """When the rise was found, in event time; None: there is none now."""
    gap: Gap | None = None
    """Why there is no answer."""
    kept: tuple[float, ...] = ()
    """What the detector has seen since the version serves, or since the last rise was over."""


@dataclass(frozen=True)
class Lot:
    """Neighbouring rows, as online detectors see them."""

    end: int
    """Number of the first cell of time after it."""
    rows: int
    totals: tuple[float, ...]
    """Of each column."""
    counts: tuple[int, ...]
    """Of each column: rows with a value."""


@dataclass(frozen=True)
class OnlineFeature:
    """One feature, or one output, as an online detector sees it."""

    feature: str
    """Of an output `:` and its name."""
    test: str
    """The detector's word in the file."""
    distance: float | None = None
    """How unlike the training its last lots are, in units of what is usual; while a drift is told the farthest since
    it was found. None: too few lots have come."""
    threshold: float = 0.0
    carried: float = 0.0
    """What a column of yes and no carries to its next lot."""
    kept: tuple[float, ...] = ()
    """The last values that the detector saw, all that it needs to go on."""

    @property
    def is_output(self) -> bool:
        return self.feature.startswith(":")

    @property
    def title(self) -> str:
        """For people: `prediction probability` of an output."""
        return f"prediction {self.feature[1:]}" if self.is_output else self.feature

    @property
    def is_above(self) -> bool:
        return compare(self.distance, self.threshold) is WindowOutcome.BREACH


@dataclass(frozen=True)
class OnlineDrift:
    """What online detectors say of requests and their answers since a version serves, up to a moment."""

    reached: datetime
    """Event time up to which rows were looked at."""
    outcome: WindowOutcome = WindowOutcome.NO_EVIDENCE
    since: datetime | None = None
    """End of the lot with which the drift was found; None: there is none now."""
    gap: Gap | None = None
    """Why there is no answer."""
    features: tuple[OnlineFeature, ...] = ()
    lots: int = 0
    """Looked at since the version serves."""
    quiet: int = 0
    """Lots in a row after which no feature was above its threshold."""
    begun: Lot | None = None
    """Rows that wait for more; None: none do."""

    @property
    def end(self) -> datetime:
        """The moment that it speaks of: that of the drift while there is one, whenever somebody looks."""
        return self.reached if self.since is None else self.since


@dataclass(frozen=True)
class Cause:
    """One kind of rows, and what it explains of a rise of the mean loss."""

    feature: str
    what: str
    """In words: `weather=snow`, `temp up to -5`."""
    share: float
    """Of the window's judged rows."""
    reference_share: float
    """Of those of the test window."""
    loss: float | None
    """Mean of its rows in the window; None: there is none."""
    reference_loss: float | None
    mix: float
    """Part of the rise that comes from its share: more rows that are harder, or fewer that are easier."""
    within: float
    """Part that comes from its rows being judged worse, beyond what all other rows have in common."""
    margin: float
    """Half the 95 % interval of what it explains."""

    @property
    def explained(self) -> float:
        """What it explains of the rise, in units of the loss."""
        return self.mix + self.within


@dataclass(frozen=True)
class Causes:
    """By which kinds of rows the mean loss of a window rose above the test window's."""

    metric: str
    """Whose losses they are."""
    rows: int = 0
    """Judged rows that it was found on."""
    loss: float | None = None
    reference: float | None = None
    """The mean loss of the test window; None: the version carries no losses of it."""
    causes: tuple[Cause, ...] = ()
    """What explains most first; empty: no kind of rows stands out."""
    unexplained: float | None = None
    """What all other rows rose by; with what the causes explain it makes the rise. None: it is not known."""
    unexplained_margin: float | None = None
    gap: Gap | None = None
    """Why nothing can be said."""

    @property
    def rise(self) -> float | None:
        """Of the mean loss; None: one of the two is not known."""
        return None if self.loss is None or self.reference is None else self.loss - self.reference


def few_rows(rows: int, least: int) -> Gap:
    """Why nothing can be said about a window with fewer rows than the file asks for."""
    return Gap("TooFewRows", f"{rows:,} of {least:,} rows (monitoring.window.minRows)")


@dataclass(frozen=True)
class ReferenceWindow:
    """Recorded requests that a window is compared with."""

    start: datetime
    end: datetime


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
    slices: SlicesDrift | None = None
    """None: the file names no slices."""
    reference: ReferenceWindow | None = None
    """None: it is compared with the training data."""
    no_reference: Gap | None = None
    """Why inputs can't be compared; None: they can."""
    no_output_reference: Gap | None = None
    """Why predictions can't be compared; None: they can."""
    min_rows: int = 0
    """Rows that it needed."""
    wanted_rows: int = 0
    """Rows with which it was to end; 0: it ended by time alone."""
    doubt: str = ""
    """Why its thresholds may be too strict or too loose; empty: they are those of the file."""

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
    concept: Concept | None = None
    """None: the file names no detector of concept drift."""
    causes: Causes | None = None
    """Where the losses rose; None: neither the metric nor the losses raise an alert."""


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
