"""Whether a challenger operates well enough: errors, and latency against the champion.

Both guardrails count bad requests and ask whether their share is shown to be above a limit. The e-value behind it
may be looked at again and again, so one error in fifty is no failure, three in three is one at once, and noise does
not add up over many looks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from capstan.domain.verdicts.analysis import AnalysisResult, Verdict
from capstan.domain.verdicts.evidence import OperationEvidence, VersionOperation
from capstan.domain.verdicts.excess import LEAST_BAD, log_excess_e_value
from capstan.domain.verdicts.refusals import judge_refused_share, refused_in_words

SLOW_SHARE = 0.01
"""The share that a p99 leaves above itself."""
SLOW_BURST = 4.0
"""Slow requests come in bursts (a pause of the machine hits all in flight); a burst counts as one."""


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

    @property
    def log_e_needed(self) -> float:
        """ln of the e-value at which one guardrail is shown to be broken."""
        return math.log(max(self.active, 1) / self.alpha)


@dataclass(frozen=True)
class BadRequests:
    """Bad requests of all that were asked, and the share of them that may be bad."""

    bad: int
    total: int
    limit: float
    burst: float = 1.0
    """So many bad requests in a row count as one."""

    @property
    def share(self) -> float:
        return self.bad / self.total if self.total else 0.0

    @property
    def log_e(self) -> float:
        return log_excess_e_value(self.bad / self.burst, self.total / self.burst, self.limit)

    @property
    def is_above(self) -> bool:
        """Whether the share is above the limit, be it by chance."""
        return self.share > self.limit

    def is_shown_above(self, log_e_needed: float) -> bool:
        least = LEAST_BAD * self.burst if self.limit > 0 else 1
        return self.bad >= least and self.log_e >= log_e_needed


def quantile(buckets: Mapping[float, int], level: float) -> float:
    """Upper bound in seconds of the bucket that holds the quantile; infinite without requests."""
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0
    if not total:
        return math.inf
    return next(bound for bound in bounds if buckets[bound] >= level * total)


def judge_operation(evidence: OperationEvidence, policy: OperationPolicy) -> AnalysisResult:
    """The verdict of one look at the counters since the step began.

    Failed when one guardrail is shown to be broken, even before the minimum of requests; Successful when the
    minimum is reached and no limit is exceeded even by chance; else Inconclusive, and premature, as more requests
    will tell.
    """
    if not (_is_sound(evidence.champion) and _is_sound(evidence.challenger)):
        return AnalysisResult(
            Verdict.INCONCLUSIVE,
            "InvalidEvidence",
            "operation counters are negative, not finite or not cumulative",
        )
    checks = _checks(evidence, policy)
    numbers = {
        "requests": float(evidence.challenger.requests),
        "champion_requests": float(evidence.champion.requests),
    }
    for check in checks:
        numbers |= {f"{check.name}_share": check.counted.share, f"{check.name}_log_e": check.counted.log_e}
    numbers = {name: value for name, value in numbers.items() if math.isfinite(value)}
    for check in checks:
        if check.counted.is_shown_above(policy.log_e_needed):
            return AnalysisResult(Verdict.FAILED, check.reason, check.message, numbers)
    short = _missing(evidence, policy)
    if short:
        message = "too early to judge: " + ", ".join(short)
        return AnalysisResult(Verdict.INCONCLUSIVE, "TooFewRequests", message, numbers, premature=True)
    refusing = judge_refused_share(evidence)
    if refusing is not None:
        return replace(refusing, numbers=numbers)
    for check in checks:
        if check.counted.is_above:
            message = f"{check.message}; it could be chance, more requests will tell"
            return AnalysisResult(
                Verdict.INCONCLUSIVE, f"{check.reason}Unclear", message, numbers, premature=True
            )
    told = [check.message for check in checks] or ["no guardrails are set"]
    message = "; ".join([*told, *([refused_in_words(evidence)] if evidence.challenger.refused else [])])
    return AnalysisResult(Verdict.SUCCESSFUL, "GuardrailsHold", message, numbers)


@dataclass(frozen=True)
class _Check:
    name: str
    reason: str
    counted: BadRequests
    message: str


def _checks(evidence: OperationEvidence, policy: OperationPolicy) -> list[_Check]:
    champion, challenger = evidence.champion, evidence.challenger
    checks = []
    if policy.max_error_rate is not None:
        message = (
            f"{challenger.errors:,} of {_requests(challenger.requests)} failed, "
            f"at most {policy.max_error_rate:.2%} may (champion: {champion.errors:,} of {champion.requests:,})"
        )
        checks.append(
            _Check(
                "errors",
                "ErrorRateTooHigh",
                BadRequests(challenger.errors, challenger.requests, policy.max_error_rate),
                message,
            )
        )
    if policy.max_latency_ratio is not None and _timed(champion):
        p99 = _champion_p99(champion)
        bound = max(p99 * policy.max_latency_ratio, policy.latency_floor_seconds)
        why = (
            f"{policy.max_latency_ratio:g} x the champion's p99 of {p99 * 1000:.3g} ms"
            if bound > policy.latency_floor_seconds
            else "the floor"
        )
        checks.append(_latency_check("latency_ratio", challenger, bound, why))
    if policy.max_latency_seconds is not None:
        checks.append(_latency_check("latency", challenger, policy.max_latency_seconds, "the absolute bound"))
    return checks


def _latency_check(name: str, challenger: VersionOperation, limit_seconds: float, why: str) -> _Check:
    # A bucket that straddles the bound counts as fast: the bound acts up to one bucket late, but noise fails nobody.
    bound = min((bound for bound in challenger.latency_buckets if bound >= limit_seconds), default=math.inf)
    total = _timed(challenger)
    slow = total - challenger.latency_buckets.get(bound, total)
    message = (
        f"{slow:,} of {_requests(total)} took longer than {limit_seconds * 1000:.3g} ms ({why}), "
        f"at most {SLOW_SHARE:.0%} may"
    )
    return _Check(name, "LatencyTooHigh", BadRequests(slow, total, SLOW_SHARE, SLOW_BURST), message)


def _champion_p99(champion: VersionOperation) -> float:
    # The upper end of the 95 % interval of the p99: a champion seen rarely must not look faster than it is.
    total = _timed(champion)
    level = 0.99 + 1.645 * math.sqrt(0.99 * 0.01 / total)
    return quantile(champion.latency_buckets, min(level, 1.0))


def _missing(evidence: OperationEvidence, policy: OperationPolicy) -> list[str]:
    counts = [(evidence.challenger.requests, "requests to the challenger")]
    if policy.max_latency_ratio is not None or policy.max_latency_seconds is not None:
        counts.append((_timed(evidence.challenger), "timed answers of the challenger"))
    if policy.max_latency_ratio is not None:
        counts.append((_timed(evidence.champion), "timed answers of the champion"))
    needed = max(policy.min_requests, 1)
    return [f"{have:,} of {needed:,} {what}" for have, what in counts if have < needed]


def _timed(operation: VersionOperation) -> int:
    return max(operation.latency_buckets.values(), default=0)


def _requests(count: int) -> str:
    return f"{count:,} challenger request{'' if count == 1 else 's'}"


def _is_sound(operation: VersionOperation) -> bool:
    counts = [operation.latency_buckets[bound] for bound in sorted(operation.latency_buckets)]
    numbers = [operation.requests, operation.errors, operation.refused, *counts]
    return (
        all(math.isfinite(number) and number >= 0 for number in numbers)
        and not any(math.isnan(bound) for bound in operation.latency_buckets)
        and max(operation.errors, operation.refused) <= operation.requests
        and counts == sorted(counts)
    )
