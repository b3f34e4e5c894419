"""How arms are compared whose shares moved: by stretches in which they stood still."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from capstan.domain.moving_weights import MovedWeights, weights_at
from capstan.domain.verdicts.analysis import AnalysisResult, Latch, Verdict
from capstan.domain.verdicts.arms import ArmBounds, ArmsRule
from capstan.domain.verdicts.bandit_inference import Outcomes, Period, difference, mean_reward
from capstan.domain.verdicts.bandits import Rewards
from capstan.domain.verdicts.evidence import ArmDay, ArmsEvidence, ArmSums
from capstan.domain.verdicts.experiments import Better
from capstan.domain.verdicts.sample_ratio import MISMATCH_ALPHA, Stratum, log_stratified_mismatch
from capstan.domain.versions import VersionName


def rewards_of(sums: ArmSums, better: Better, *, is_share: bool = False) -> Rewards:
    """Outcomes as rewards, of which more is better: y, 1 - y of a share that should be low, else -y."""
    if better is Better.HIGHER:
        return Rewards(sums.units, sums.total, sums.squares, sums.cubes)
    if is_share:
        low = sums.units - sums.total
        return Rewards(sums.units, low, low, low)
    return Rewards(sums.units, 0.0 - sums.total, sums.squares, 0.0 - sums.cubes)


@dataclass(frozen=True)
class MovingShares:
    """What the shares of the arms were, and when; units of stretches between two of them decide nothing."""

    moves: Sequence[MovedWeights]
    better: Better
    by_request: bool = False
    """True: each unit says by which shares it was drawn; those that do not say it decide nothing."""

    def periods(self, evidence: ArmsEvidence) -> list[Period]:
        """The evidence by stretches whose shares are known, as rewards."""
        found = []
        for stretch in evidence.days:
            weights = self._shares_of(stretch)
            if weights is not None:
                arms = {
                    str(version): Outcomes(sums.closed, rewards_of(sums, self.better))
                    for version, sums in stretch.arms.items()
                }
                shares = {str(version): weight for version, weight in weights.items()}
                found.append(Period(shares, arms, stretch.start if self.by_request else None))
        return found

    def _shares_of(self, stretch: ArmDay) -> Mapping[VersionName, int] | None:
        """None: they are not known."""
        if self.by_request:
            return stretch.shares or None
        return weights_at(self.moves, stretch.start)

    def means(self, evidence: ArmsEvidence, versions: Sequence[VersionName]) -> dict[VersionName, float]:
        """Mean outcome of each arm, had all units met it; arms of which nothing is known are missing."""
        periods = self.periods(evidence)
        sign = 1 if self.better is Better.HIGHER else -1
        known = {version: mean_reward(periods, version) for version in versions}
        return {version: sign * mean + 0.0 for version, mean in known.items() if mean is not None}

    def bounds(
        self, evidence: ArmsEvidence, rule: ArmsRule, champion: VersionName, arm: VersionName
    ) -> ArmBounds:
        """The arm's difference from the champion by propensity-weighted scores; positive favours the arm."""
        periods = self.periods(evidence)
        found = difference(
            periods,
            arm,
            champion,
            radius=lambda units: rule.radius(units, rule.planned_units),
        )
        # Other units say nothing of the two, and neither do those of one alone: no least number is reached by them.
        known = [period for period in periods if period.shares.get(champion) and period.shares.get(arm)]
        counts = [
            sum(period.arms[name].rewards.count for period in known if name in period.arms)
            for name in (champion, arm)
        ]
        units = sum(counts) if all(counts) else 0
        return ArmBounds(arm, found.estimate, found.lower, found.upper, units, skewness=found.skewness)

    def ratio(self, evidence: ArmsEvidence) -> AnalysisResult:
        """Whether the arms hold the units that they should, given the shares that each unit was drawn by."""
        strata = list(self._strata(evidence))
        if not strata:
            return AnalysisResult(Verdict.INCONCLUSIVE, "TooFewRequests", "no users yet", premature=True)
        log_e, total = log_stratified_mismatch(strata), sum(one.total for one in strata)
        numbers = {"log_e": log_e}
        worst = max((_compared(one) for one in self._told(strata)), key=lambda one: one[0])[1]
        if log_e >= -math.log(MISMATCH_ALPHA):
            message = f"not the wanted shares, the farthest {worst} (sequential Dirichlet test at {MISMATCH_ALPHA:g})"
            latch = Latch(Verdict.FAILED, total)
            return AnalysisResult(Verdict.FAILED, "SampleRatioMismatch", message, numbers, latch=latch)
        return AnalysisResult(Verdict.SUCCESSFUL, "SampleRatioHolds", worst, numbers)

    def _strata(self, evidence: ArmsEvidence) -> Iterator[Stratum]:
        """Stretches that have units whose shares are known."""
        for stretch in evidence.days:
            weights = self._shares_of(stretch)
            counts = {str(version): sums.assigned for version, sums in stretch.arms.items()}
            if weights is not None and any(counts.values()):
                shares = {str(version): weight / 100 for version, weight in weights.items() if weight}
                yield Stratum(counts, shares)

    def _told(self, strata: Sequence[Stratum]) -> Sequence[Stratum]:
        """What words and the farthest share are about."""
        return [_pooled(strata)] if self.by_request else strata


def _compared(stratum: Stratum) -> tuple[float, str]:
    """How far the farthest arm is off, and in words."""
    total = sum(stratum.counts.values())
    arm = max(stratum.shares, key=lambda one: abs(stratum.counts.get(one, 0) / total - stratum.shares[one]))
    share, wanted = stratum.counts.get(arm, 0) / total, stratum.shares[arm]
    return abs(share - wanted), f"{arm} got {share:.1%} of {total:,}, wanted {wanted:.1%}"


def _pooled(strata: Sequence[Stratum]) -> Stratum:
    """Units of all strata with the mean of the shares that drew them, of which each has too few to be shown."""
    counts: Counter[str] = Counter()
    expected: dict[str, float] = {}
    for one in strata:
        counts.update(one.counts)
        for arm, share in one.shares.items():
            expected[arm] = expected.get(arm, 0.0) + share * sum(one.counts.values())
    return Stratum(counts, {arm: share / counts.total() for arm, share in expected.items()})
