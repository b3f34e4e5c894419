"""How far an arm of an experiment is from the champion, from sums over units or from whole days of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from capstan.domain.verdicts.evidence import ArmsEvidence, ArmSums, LossBlock
from capstan.domain.verdicts.experiments import ArmMoments
from capstan.domain.verdicts.merging import MergedBlocks, merge_as_needed
from capstan.domain.verdicts.quality import LEAST_BLOCKS
from capstan.domain.versions import VersionName


@dataclass(frozen=True)
class Covariate:
    """What the units did before the experiment, as CUPED uses it (Deng et al. 2013)."""

    mean: float = 0.0
    """Of all units that have one; the others count as having it."""
    slope: float = 0.0
    """Of the outcome on the covariate, within arms."""
    explained: float = 0.0
    """Share of the outcomes' variance within arms that it takes away."""

    def mean_of(self, sums: ArmSums) -> float:
        """The arm's mean outcome less what its units' covariates explain."""
        return (sums.total - self.slope * self._centred(sums)) / sums.units

    def moments(self, sums: ArmSums) -> ArmMoments:
        """Units, mean and variance of the arm's adjusted outcomes; the skewness is that of the outcomes themselves."""
        plain = ArmMoments.of_sums(sums.units, sums.total, sums.squares, sums.cubes)
        if sums.units < 2 or not self.slope:
            return plain
        z = self._centred(sums)
        zz = sums.covariate_squares - 2 * self.mean * sums.covariate + sums.covariate_known * self.mean**2
        zy = sums.products - self.mean * sums.covariate_total
        squares = (
            (sums.squares - sums.total**2 / sums.units)
            - 2 * self.slope * (zy - z * sums.total / sums.units)
            + self.slope**2 * (zz - z * z / sums.units)
        )
        return replace(plain, mean=self.mean_of(sums), variance=max(squares, 0.0) / (sums.units - 1))

    def _centred(self, sums: ArmSums) -> float:
        return sums.covariate - sums.covariate_known * self.mean


def covariate_of(arms: Sequence[ArmSums]) -> Covariate:
    """The covariate of all arms; without a known or varying one it explains nothing."""
    known = sum(arm.covariate_known for arm in arms)
    if known < 2:
        return Covariate()
    mean = math.fsum(arm.covariate for arm in arms) / known
    centre = Covariate(mean)
    products = squares = outcomes = 0.0
    for arm in arms:
        if arm.units < 2:
            continue
        z = centre._centred(arm)
        zz = arm.covariate_squares - 2 * mean * arm.covariate + arm.covariate_known * mean**2
        products += arm.products - mean * arm.covariate_total - z * arm.total / arm.units
        squares += zz - z * z / arm.units
        outcomes += arm.squares - arm.total**2 / arm.units
    if squares <= 0 or outcomes <= 0:
        return Covariate(mean)
    return Covariate(mean, products / squares, min(products**2 / (squares * outcomes), 1.0))


def day_blocks(
    evidence: ArmsEvidence, champion: VersionName, arm: VersionName, covariate: Covariate, *, sign: int
) -> MergedBlocks:
    """Whole days, merged until neighbours are not correlated; S is the difference of means times the units.

    `sign` is -1 where less is better.
    """
    days = closed_days(evidence, champion, arm, covariate, sign=sign)
    found = MergedBlocks()
    for merged in merge_as_needed(days, least=LEAST_BLOCKS):
        found = merged
    return found


def closed_days(
    evidence: ArmsEvidence, champion: VersionName, arm: VersionName, covariate: Covariate, *, sign: int
) -> list[LossBlock]:
    """One block for each day whose units have all closed; the last day seen may still get units and is left out."""
    found = []
    for day in evidence.days[:-1]:
        control, other = _of(day.arms, champion), _of(day.arms, arm)
        is_open = control.closed < control.assigned or other.closed < other.assigned
        if is_open or not control.units or not other.units:
            continue
        difference = sign * (covariate.mean_of(other) - covariate.mean_of(control))
        count = control.units + other.units
        found.append(LossBlock(day.start, count, difference * count, 1.0))
    return found


def _of(arms: Mapping[VersionName, ArmSums], version: VersionName) -> ArmSums:
    return arms.get(version, ArmSums())
