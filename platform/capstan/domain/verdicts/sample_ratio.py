"""Whether the traffic was really divided as it was wanted.

Two uses: a split that was set but is not obeyed (the rollout holds), and an A/B test whose arms have the wrong
sizes (its verdict is frozen, because whatever lost the missing users also biases the rest).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from capstan.domain.reasons import Reason
from capstan.domain.verdicts.analysis import AnalysisResult, Latch, Verdict

PRIOR_STRENGTH = 1000.0
MISMATCH_ALPHA = 0.001
STRAY_SHARE = 0.01
"""Share of requests that may still reach an arm of weight 0 while connections drain."""
_TILTS = tuple(sign * 0.02 * 2**power for power in range(7) for sign in (1, -1))
"""Logarithms by which the odds of one arm may be off in all strata alike, from 2 % to 3.6 times."""


@dataclass(frozen=True)
class Stratum:
    """Units that were drawn by the same shares."""

    counts: Mapping[str, int]
    shares: Mapping[str, float]
    """Positive, with the sum 1."""

    @property
    def total(self) -> int:
        """Units in the arms that have a share."""
        return sum(self.counts.get(arm, 0) for arm in self.shares)


def log_mismatch(
    counts: Mapping[str, int], shares: Mapping[str, float], *, strength: float = PRIOR_STRENGTH
) -> float:
    """ln Bayes factor against "units fell into arms by `shares`"; reject at ln(1/alpha), at any look.

    Each randomised unit counts once. Shares are positive and sum to 1 (Lindon & Malek 2022, Dirichlet prior).
    """
    total = sum(counts.get(arm, 0) for arm in shares)
    result = math.lgamma(strength) - math.lgamma(strength + total)
    for arm, share in shares.items():
        count = counts.get(arm, 0)
        result += (
            math.lgamma(strength * share + count) - math.lgamma(strength * share) - count * math.log(share)
        )
    return result


def log_stratified_mismatch(strata: Sequence[Stratum]) -> float:
    """ln e-value against "in each stratum units fell into arms by its shares"; reject at ln(1/alpha), at any look.

    The mean of two e-processes is one. The first multiplies the Bayes factors of the strata: it finds strata that
    are off each in its own way, and hardly any where each has few units. The second goes through all strata with one
    alternative, that the odds of one arm are off by the same factor everywhere, and is the mean over arms and factors.
    Given the past, each unit multiplies either by a number whose expectation is 1, so shares may follow the
    outcomes. One stratum is found by at most a factor of 2 later than by `log_mismatch` alone.
    """
    each = math.fsum(log_mismatch(one.counts, one.shares) for one in strata)
    return _log_mean([each, _log_mean(list(_log_tilted(strata)))])


def _log_tilted(strata: Sequence[Stratum]) -> Iterator[float]:
    """ln likelihood ratio of each arm and each factor of its odds; of no unit, 0."""
    arms = sorted({arm for one in strata for arm in one.shares})
    for arm in arms:
        found = [(one.counts.get(arm, 0), one.shares[arm], one.total) for one in strata if arm in one.shares]
        units = sum(count for count, _, _ in found)
        for tilt in _TILTS:
            factor = math.expm1(tilt)
            yield tilt * units - math.fsum(total * math.log1p(share * factor) for _, share, total in found)


def _log_mean(logarithms: Sequence[float]) -> float:
    """ln of the mean of numbers of which the logarithms are given; 0 for none."""
    if not logarithms:
        return 0.0
    highest = max(logarithms)
    return highest + math.log(math.fsum(math.exp(one - highest) for one in logarithms) / len(logarithms))


def judge_sample_ratio(
    users: Mapping[str, int],
    weights: Mapping[str, int],
    *,
    alpha: float = MISMATCH_ALPHA,
    latched: Latch | None = None,
) -> AnalysisResult:
    """Whether an A/B test's arms hold the users they should, each user counted once; an alarm is latched for good."""
    counts, shares = _by_weight(users, weights)
    total = sum(counts.values())
    described = _describe(counts, shares)
    if any(count < 0 for count in users.values()):
        return AnalysisResult(
            Verdict.INCONCLUSIVE, "InvalidEvidence", f"negative counts: {dict(users)}", latch=latched
        )
    if latched is not None and latched.verdict is Verdict.FAILED:
        return AnalysisResult(
            Verdict.FAILED, "SampleRatioMismatch", f"found earlier; now {described}", latch=latched
        )
    if not sum(users.values()):
        return AnalysisResult(Verdict.INCONCLUSIVE, "TooFewRequests", "no users yet", premature=True)
    log_e = log_mismatch(counts, shares)
    stray = sum(users.values()) - total
    if log_e >= -math.log(alpha) or stray:
        message = (
            f"{described}, {stray:,} elsewhere: not the wanted split (sequential Dirichlet test at {alpha:g})"
        )
        latch = Latch(Verdict.FAILED, total)
        return AnalysisResult(Verdict.FAILED, "SampleRatioMismatch", message, {"log_e": log_e}, latch=latch)
    return AnalysisResult(Verdict.SUCCESSFUL, "SampleRatioHolds", described, {"log_e": log_e})


def freeze_on_mismatch(verdict: AnalysisResult, *checks: AnalysisResult | None) -> AnalysisResult:
    """The experiment's verdict, or Inconclusive for the reason of the first check that Failed.

    Checks are the sample ratio and those of `validity`; where one fails, nothing that the experiment says can be
    trusted. None is a check without anything to say.
    """
    for check in checks:
        if check is not None and check.verdict is Verdict.FAILED:
            message = f"verdict frozen, the experiment is invalid: {check.message}"
            return replace(
                verdict, verdict=Verdict.INCONCLUSIVE, reason=check.reason, message=message, premature=False
            )
    return verdict


def judge_split(
    assigned: Mapping[str, int],
    weights: Mapping[str, int],
    *,
    min_requests: int = 100,
    alpha: float = MISMATCH_ALPHA,
    tolerance: float = 0.5,
) -> AnalysisResult:
    """Whether the gateway obeys the weights that were set.

    Requests that stick by a key come in groups, so significance alone would cry wolf: an arm's share must also be
    off by more than `tolerance` of its smaller side (25 % obeyed as 12-37 % passes). Inconclusive, never Failed,
    when it does not obey: the challenger is not to blame.
    """
    counts, shares = _by_weight(assigned, weights)
    total = sum(assigned.values())
    described = _describe(counts, shares)
    if not shares:
        return AnalysisResult(Verdict.INCONCLUSIVE, "NoWantedSplit", "no weights are set yet", premature=True)
    if any(count < 0 for count in assigned.values()):
        return AnalysisResult(Verdict.INCONCLUSIVE, "InvalidEvidence", f"negative counts: {dict(assigned)}")
    if total < max(min_requests, 1):
        message = f"too early to judge the split: {total:,} of {max(min_requests, 1):,} requests"
        return AnalysisResult(Verdict.INCONCLUSIVE, "TooFewRequests", message, premature=True)
    stray = (total - sum(counts.values())) / total
    log_e = log_mismatch(counts, shares)
    numbers = {"log_e": log_e, "stray_share": stray}
    numbers |= {f"share_{arm}": counts[arm] / total for arm in counts}
    if stray > STRAY_SHARE:
        message = f"{stray:.1%} of requests went to versions of weight 0; {described}"
        return AnalysisResult(Verdict.INCONCLUSIVE, Reason.TRAFFIC_SPLIT_NOT_OBEYED, message, numbers)
    far = any(
        abs(counts[arm] / total - share) > tolerance * min(share, 1 - share)
        for arm, share in shares.items()
        if share < 1
    )
    if far and log_e >= -math.log(alpha):
        return AnalysisResult(
            Verdict.INCONCLUSIVE, Reason.TRAFFIC_SPLIT_NOT_OBEYED, f"not obeyed: {described}", numbers
        )
    return AnalysisResult(Verdict.SUCCESSFUL, "TrafficSplitObeyed", described, numbers)


def _by_weight(
    counts: Mapping[str, int], weights: Mapping[str, int]
) -> tuple[dict[str, int], dict[str, float]]:
    total = sum(weights.values())
    shares = {arm: weight / total for arm, weight in weights.items() if weight > 0}
    return {arm: counts.get(arm, 0) for arm in shares}, shares


def _describe(counts: Mapping[str, int], shares: Mapping[str, float]) -> str:
    total = max(sum(counts.values()), 1)
    return ", ".join(
        f"{arm} got {counts[arm]:,} ({counts[arm] / total:.1%}, wanted {share:.1%})"
        for arm, share in shares.items()
    )
