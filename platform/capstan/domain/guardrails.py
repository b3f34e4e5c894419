"""Whether a challenger operates well enough: errors, and latency against the champion.

Both guardrails count bad requests and ask whether their share is shown to be above a limit. The e-value behind it may be looked at
again and again, so one error in fifty is no failure, three in three is one at once, and noise does not add up over many looks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from scipy.special import betaincc, betaln

from capstan.domain.analysis import AnalysisResult, Verdict
from capstan.domain.evidence import OperationEvidence, VersionOperation

SLOW_SHARE = 0.01
"""The share that a p99 leaves above itself."""
LEAST_BAD = 3
"""Fewer bad requests than this never fail a challenger: one reset connection at start-up is no verdict."""


@dataclass(frozen=True)
class OperationPolicy:
    """What operation must not do; None leaves a guardrail out."""

    max_error_rate: float | None = 0.01
    max_latency_ratio: float | None = 1.5
    """No more than 1 % of challenger requests may be slower than the champion's p99 times this."""
    latency_floor_seconds: float = 0.05
    """Below this, latency is fine whatever the ratio."""
    max_latency_seconds: float | None = None
    """Absolute bound on the p99; None in a replay, where only ratios mean something."""
    min_requests: int = 100
    """Of the challenger and, for the ratio, of the champion too; a failure may be shown with fewer."""
    alpha: float = 0.05
    """Chance of any false alarm among the active guardrails, however often one looks; split evenly."""

    @property
    def active(self) -> int:
        """Number of guardrails that share alpha."""
        return sum(
            limit is not None
            for limit in (self.max_error_rate, self.max_latency_ratio, self.max_latency_seconds)
        )


def log_excess_e_value(bad: int, total: int, limit: float) -> float:
    """ln of the e-value against "the share of bad requests is at most `limit`"; reject at ln(1/alpha), at any look.

    Likelihood ratio against a Beta(1/2, 1/2) prior truncated to shares above `limit`; valid for every share below `limit`
    too, because the ratio rises with the number of bad requests.
    """
    if total == 0:
        return 0.0
    if limit <= 0:
        return math.inf if bad else 0.0
    if limit >= 1:
        return 0.0
    prior = float(betaln(0.5, 0.5)) + math.log(float(betaincc(0.5, 0.5, limit)))
    good = total - bad
    above = float(betaincc(bad + 0.5, good + 0.5, limit))
    if above <= 0:
        return -math.inf
    posterior = float(betaln(bad + 0.5, good + 0.5)) + math.log(above)
    return posterior - prior - bad * math.log(limit) - good * math.log1p(-limit)


def judge_operation(evidence: OperationEvidence, policy: OperationPolicy) -> AnalysisResult:
    """The verdict of one look at the counters since the step began."""
    raise NotImplementedError
