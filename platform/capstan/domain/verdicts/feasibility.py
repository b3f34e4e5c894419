"""How long a verdict will take, told before the rollout begins.

Where pairs of past rollouts are stored, a deadline that cannot be met is told when it is written, not discovered three
weeks later.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from capstan.domain.verdicts.blocks import autocorrelation, residuals, sum_blocks
from capstan.domain.verdicts.confidence import suspicion_radius
from capstan.domain.verdicts.evidence import LossBlock
from capstan.domain.verdicts.quality import Decide, QualityRule
from capstan.domain.verdicts.spells import LIKELIHOOD, expected_log_ratio

FARTHEST = 100_000
"""Blocks beyond which a decision counts as never."""
LARGEST_EFFECT = 100.0
"""Standard deviations of a block beyond which no margin is offered."""
MEDIAN_OVERSHOOT = 1.06
LATE_OVERSHOOT = 0.98
"""A random path crosses the boundary before its mean does, and chance alone merges some blocks; both factors are
fitted to simulations at d = 0.4-2."""
MEDIAN_CHANCE = 1.15
LATE_CHANCE = 0.9
"""The same for the moment at which a difference is likelier than a spell."""
LATE_DEVIATIONS = 0.8416
"""Four paths in five are above their mean less so many standard deviations."""


@dataclass(frozen=True)
class LossHistory:
    """What past pairs of models say about the noise of a block."""

    blocks: int
    spread: float
    """Standard deviation over blocks of the loss difference per request."""
    labels_per_block: float
    requests_per_block: float
    lag_one: float = 0.0
    """Lag-1 autocorrelation of the blocks; above 0.1 the verdict merges them."""

    @property
    def long_run_spread(self) -> float:
        """The spread as it acts on a mean of many blocks when neighbours are alike."""
        lag = min(max(self.lag_one, 0.0), 0.9)
        return self.spread * math.sqrt((1 + lag) / (1 - lag))


def read_history(blocks: Sequence[LossBlock]) -> LossHistory:
    """The noise of past closed blocks; raises ValueError with fewer than two that hold labels."""
    used = [block for block in blocks if block.count]
    if len(used) < 2:
        raise ValueError(f"blocks: {len(used)} with labels; at least 2 are needed to estimate a spread")
    labels = sum(block.count for block in used)
    requests = math.fsum(
        block.count / block.coverage if block.coverage > 0 else block.count for block in used
    )
    return LossHistory(
        blocks=len(used),
        spread=sum_blocks(used).spread,
        labels_per_block=labels / len(used),
        requests_per_block=requests / len(used),
        lag_one=autocorrelation(residuals(used)),
    )


@dataclass(frozen=True)
class TimeToVerdict:
    """Closed blocks until the challenger passes; None means never."""

    median_blocks: int | None
    late_blocks: int | None
    """After so many blocks four rollouts in five have passed."""


def time_to_verdict(
    rule: QualityRule, history: LossHistory, *, true_difference: float = 0.0
) -> TimeToVerdict:
    """Expected blocks until `rule` passes a challenger that is truly better by `true_difference` per request.

    Within about 17 % of simulations with Gaussian blocks; real blocks are skewed and drift, so plan with `late_blocks`.
    """
    least = max(
        rule.least_blocks,
        _blocks_for(rule.min_labels, history.labels_per_block),
        _blocks_for(rule.min_requests, history.requests_per_block),
    )
    if least > FARTHEST:
        return TimeToVerdict(None, None)
    distance = true_difference - rule.promote_above
    if rule.decide is Decide.UNLESS_WORSE:
        # A challenger that is worse than the margin passes at the first look or hardly ever.
        lack, bound = -distance, suspicion_radius(least) * history.long_run_spread
        late = lack + LATE_DEVIATIONS * history.long_run_spread / math.sqrt(least)
        return TimeToVerdict(least if lack <= bound else None, least if late <= bound else None)
    if distance <= 0:
        return TimeToVerdict(None, None)
    if history.spread == 0:
        return TimeToVerdict(least, least)
    effect = distance / history.long_run_spread
    return TimeToVerdict(
        _first_block(rule, least, effect, overshoot=MEDIAN_OVERSHOOT, chance=MEDIAN_CHANCE, slack=0.0),
        _first_block(
            rule, least, effect, overshoot=LATE_OVERSHOOT, chance=LATE_CHANCE, slack=LATE_DEVIATIONS
        ),
    )


def infeasible_deadline(
    rule: QualityRule,
    history: LossHistory,
    *,
    deadline: timedelta,
    block: timedelta = timedelta(days=1),
    label_delay: timedelta = timedelta(0),
    true_difference: float = 0.0,
) -> str | None:
    """Why the deadline cannot be met, with the ways out; None when at least half of the rollouts would make it."""
    expected = time_to_verdict(rule, history, true_difference=true_difference)
    available = int((deadline - label_delay) / block) if deadline > label_delay else 0
    if expected.median_blocks is not None and expected.median_blocks <= available:
        return None
    if expected.median_blocks is None:
        needs = "never decides"
    else:
        late = (
            _span(expected.late_blocks * block + label_delay)
            if expected.late_blocks is not None
            else "for ever"
        )
        median = _span(expected.median_blocks * block + label_delay)
        needs = f"takes {median} in the median and {late} in four of five rollouts"
    ways = _ways_out(rule, history, available, true_difference)
    if expected.late_blocks is not None:
        ways.append(f"deadline: {_span(expected.late_blocks * block + label_delay)}")
    return (
        f"{_span(deadline)} cannot be met: {rule.decide} at margin {rule.margin:g} {rule.metric} {needs} "
        f"(spread of a block {history.spread:.3g} per request, assumed true difference {true_difference:+g}); "
        f"ways out: {' | '.join(ways) if ways else 'more requests per block'}"
    )


def affordable_margin(
    rule: QualityRule, history: LossHistory, *, blocks: int, true_difference: float = 0.0
) -> float | None:
    """The smallest margin that NotWorse decides within `blocks` in the median; None with too few blocks for any."""
    if blocks < rule.least_blocks:
        return None
    effect = rule.radius(blocks) / MEDIAN_OVERSHOOT
    while not _is_no_spell(rule, blocks, MEDIAN_CHANCE * effect):
        effect *= 1.001
        if effect > LARGEST_EFFECT:
            return None
    return max(effect * history.long_run_spread - true_difference, 0.0)


def _ways_out(rule: QualityRule, history: LossHistory, available: int, true_difference: float) -> list[str]:
    if rule.decide is Decide.UNLESS_WORSE:
        return []
    ways = []
    margin = affordable_margin(rule, history, blocks=available, true_difference=true_difference)
    if margin is not None:
        ways.append(f"decide: NotWorse with margin: {math.ceil(margin * 1000) / 1000:g}")
    ways.append(f"decide: UnlessWorse, a choice of risk, after {rule.least_blocks} blocks")
    return ways


def _blocks_for(needed: int, per_block: float) -> int:
    if needed <= 0:
        return 0
    return math.ceil(needed / per_block) if per_block > 0 else FARTHEST + 1


def _first_block(
    rule: QualityRule, least: int, effect: float, *, overshoot: float, chance: float, slack: float
) -> int | None:
    def passes(blocks: int) -> bool:
        lack = slack / math.sqrt(blocks)
        if rule.radius(blocks) + lack > effect * overshoot:
            return False
        return _is_no_spell(rule, blocks, max(effect * chance - lack, 0.0))

    low, high = least, least
    while not passes(high):
        low, high = high + 1, high * 2
        if high > FARTHEST:
            return None
    while low < high:
        middle = (low + high) // 2
        if passes(middle):
            high = middle
        else:
            low = middle + 1
    return high


def _is_no_spell(rule: QualityRule, blocks: int, effect: float) -> bool:
    return expected_log_ratio(blocks, effect) >= math.log(LIKELIHOOD / rule.two_sided_alpha)


def _span(duration: timedelta) -> str:
    days = duration / timedelta(days=1)
    return f"{days:.3g}d" if days >= 1 else f"{duration / timedelta(hours=1):.3g}h"
