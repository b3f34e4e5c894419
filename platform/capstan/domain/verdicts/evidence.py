"""What was measured about two versions, before anybody judges it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime

from capstan.domain.versions import VersionName

CLOSED_COVERAGE = 0.98
"""Share of a block's labels at which it closes before the longest delay is over."""


@dataclass(frozen=True)
class LossBlock:
    """Paired losses of one closed block (a day, say) of requests.

    `loss_difference` is the sum over requests of loss(champion) - loss(challenger): positive favours the challenger.
    """

    start: datetime
    count: int
    loss_difference: float
    coverage: float
    """Labelled share, 0-1, of the requests that can have a label, when the block closed."""


@dataclass(frozen=True)
class PairedEvidence:
    """All that is known by paired predictions of a champion and a challenger since a moment."""

    blocks: tuple[LossBlock, ...] = ()
    """Closed blocks only, in event order: coverage reached 98 % or the maximum label delay passed."""
    paired_requests: int = 0
    """Requests for which both predictions are stored, labelled or not."""
    labelled_pairs: int = 0
    disagreement: float | None = None
    """Share of pairs whose decided classes differ; None without pairs. Reported, never gated."""
    clipped_share: float = 0.0
    lost_share: float = 0.0
    """Lost payloads / (stored + lost) of both versions since the moment: evidence biased by loss is withheld."""
    nonfinite_answers: int = 0
    """Challenger answers that were NaN, infinite or outside the output's range."""
    refused_answers: int = 0
    """Requests that the champion answered and the challenger refused with 4xx; no pairs."""


@dataclass(frozen=True)
class ArmSums:
    """Outcomes of the units of one arm as sums that no order of units changes.

    The last five are zero where no covariate was asked for.
    """

    assigned: int = 0
    """Units that met this arm first, whether their window is over or not: what a sample ratio counts."""
    closed: int = 0
    """Of the assigned those whose window is over."""
    units: int = 0
    """Of the closed those that have an outcome."""
    total: float = 0.0
    """Sum of their outcomes y; of y squared and y cubed below."""
    squares: float = 0.0
    cubes: float = 0.0
    covariate_known: int = 0
    """Of the `units` those that have a covariate x: what they did before the experiment."""
    covariate: float = 0.0
    """Sum of x; of x squared and x y below."""
    covariate_squares: float = 0.0
    products: float = 0.0
    covariate_total: float = 0.0
    """Sum of y over the units that have a covariate: with it the others may be given the mean of x."""


@dataclass(frozen=True)
class RankSums:
    """What the ranks of an arm's outcomes among the champion's say; each pair of their units is compared."""

    units: int
    control_units: int
    """Of the champion."""
    won_twice: int
    """Twice the pairs in which the arm's outcome is the larger one, and once those that tie: a whole number."""
    ties: int
    """Sum of t cubed less t over all values, where t units of both have the value."""
    variance: float
    """Over the arm's units: of the share of the champion's units that they are above (DeLong et al. 1988)."""
    control_variance: float
    """Over the champion's units: of the share of the arm's units that are below them."""


@dataclass(frozen=True)
class ArmDay:
    """The units that were first assigned on one day of the system's zone, or in another stretch of time, by arm."""

    start: datetime
    """Of the day or the stretch, not of the evidence: the first day may have begun before."""
    arms: Mapping[VersionName, ArmSums]
    """Arms without a unit may be missing."""
    shares: Mapping[VersionName, int] = field(default_factory=dict)
    """Whole percents by which these units were drawn, where each says its own; then a stretch is there once for each
    shares. Empty: all units of the stretch were drawn by the same.
    """


@dataclass(frozen=True)
class ArmsEvidence:
    """Outcomes of units that a salted hash gave to arms since a moment, each unit once and in its first arm."""

    days: tuple[ArmDay, ...] = ()
    """In order; `assigned` counts at once, the other sums once a unit's window is over."""
    crossed: int = 0
    """Units that met a second arm."""
    lost_share: float = 0.0
    """Lost payloads / (stored + lost) of all arms since the moment: evidence biased by loss is withheld."""
    clipped_share: float = 0.0
    """Share of the outcomes that the cap bounded."""
    nonfinite_answers: Mapping[VersionName, int] = field(default_factory=dict)
    """Answers that were NaN, infinite or outside the output's range, of versions that gave any."""
    ranks: Mapping[VersionName, RankSums] = field(default_factory=dict)
    """Of arms against the first one asked for; empty unless ranks were asked for and both have outcomes."""
    too_many_values: bool = False
    """True: ranks were asked for, and the units have more distinct outcomes than are kept."""

    def with_answers_of(self, versions: Iterable[VersionName]) -> ArmsEvidence:
        """The same without what other versions answered that is no number: an arm that left withholds nothing."""
        bad = {version: self.nonfinite_answers.get(version, 0) for version in versions}
        return replace(self, nonfinite_answers={version: count for version, count in bad.items() if count})

    def total(self, version: VersionName) -> ArmSums:
        """The arm's sums over all days."""
        return summed(day.arms[version] for day in self.days if version in day.arms)


def summed(parts: Iterable[ArmSums]) -> ArmSums:
    """All units of the parts together, in whatever order they come."""
    every = list(parts)
    sums: dict[str, float] = {}
    for part in fields(ArmSums):
        values = [getattr(one, part.name) for one in every]
        # `fsum` keeps the result the same however the days come.
        sums[part.name] = math.fsum(values) if isinstance(part.default, float) else sum(values)
    return ArmSums(**sums)  # type: ignore[arg-type]


@dataclass(frozen=True)
class VersionOperation:
    """Counters of one version in a window of wall time, from its own metrics and the gateway's."""

    version: VersionName
    requests: int
    errors: int
    """Answers other than 200 and 4xx, plus timeouts, resets and retries that the gateway hid from users."""
    latency_buckets: Mapping[float, int] = field(default_factory=dict)
    """Upper bound in seconds -> number of requests at or below it (cumulative; the last bound is infinity)."""
    refused: int = 0
    """Answers 4xx; no errors, since a bad request is its client's fault."""


@dataclass(frozen=True)
class OperationEvidence:
    """Champion and challenger in the same window; raised as UnavailableError when it cannot be measured."""

    champion: VersionOperation
    challenger: VersionOperation
    assigned: Mapping[VersionName, int] = field(default_factory=dict)
    """Requests that the gateway routed to each arm (mirrors and retries not counted): observed against wanted split."""


@dataclass(frozen=True)
class QueryMeasurement:
    """A finite value of a person's own query."""

    at: datetime
    """Wall time."""
    value: float


@dataclass(frozen=True)
class QueryEvidence:
    """A person's own query, measured at the end of each interval since the step began."""

    measurements: tuple[QueryMeasurement, ...] = ()
    """In order of time; intervals without data, with NaN or infinity have none."""
    asked: int = 0
    """Ends of intervals that have passed, with data or without."""
    newest: datetime | None = None
    """The last of them; None before the first."""
    series: int = 0
    """Series that the query answered; the measurements are those of the only one."""
