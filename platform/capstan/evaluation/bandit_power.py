"""What a bandit will do with arms of known worth, simulated by the policies and the verdict of the step itself.

Each batch is divided by the shares that the batches before it gave, and every arm's rewards are drawn. After each batch
the verdict is asked, as the loop asks it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from capstan.domain.moving_weights import MovedWeights
from capstan.domain.verdicts.analysis import Latch, Verdict
from capstan.domain.verdicts.arms import ArmsRule, judge_arms
from capstan.domain.verdicts.bandit_inference import regret
from capstan.domain.verdicts.bandits import BanditRule, Policy, Rewards, shares_of, whole_shares
from capstan.domain.verdicts.evidence import ArmDay, ArmsEvidence, ArmSums, summed
from capstan.domain.verdicts.moving_shares import MovingShares, rewards_of
from capstan.domain.versions import VersionName

START = datetime(2000, 1, 1, tzinfo=UTC)
BATCH = timedelta(hours=1)
"""Batches follow each other; how long one takes changes nothing but their order."""


@dataclass(frozen=True)
class BanditScenario:
    """The arms that a bandit would meet."""

    means: tuple[float, ...]
    """True mean reward of each arm, the champion's first."""
    deviation: float | None = None
    """Spread of a unit's reward; None: rewards are 0 or 1."""
    units_per_batch: int = 500
    batches: int = 40
    """The deadline."""
    late: int = 0
    """Batches that must be over before the rewards of a batch are known."""
    runs: int = 200
    seed: int = 0

    @property
    def arms(self) -> tuple[VersionName, ...]:
        return tuple(VersionName(f"v{number}") for number in range(1, len(self.means) + 1))


@dataclass(frozen=True)
class BanditPower:
    """What one policy did."""

    policy: Policy
    median_units: int | None
    """Units until the best arm has the wanted share for good, in half of the runs; None: fewer runs came to that."""
    late_units: int | None
    """The same of four runs in five."""
    regret: float
    """Rewards that were not gained by the deadline, in the mean of all runs."""
    even_regret: float
    """What equal shares would have lost of them."""
    right: float
    """Share of runs whose verdict by the deadline names the best arm."""
    wrong: float
    """Share of runs whose verdict names another arm, or one that is only as good as the champion."""
    undecided: float
    largest_is_wrong: float
    """Share of runs that end with the largest weight at an arm that is not the best; no verdict is made of that."""


def simulate_bandit(
    scenario: BanditScenario,
    shares: BanditRule,
    rule: ArmsRule,
    *,
    wanted: int = 80,
    advance: Callable[[int], None] | None = None,
) -> BanditPower:
    """`wanted`: the share in percent that the best arm should reach; `advance` is told how many runs are done."""
    rng = np.random.default_rng(scenario.seed)
    runs = []
    for number in range(scenario.runs):
        runs.append(_run(scenario, shares, rule, wanted, rng))
        if advance is not None:
            advance(number + 1)
    reached = [run.reached for run in runs]
    best = _best(scenario)
    named = [run.chosen for run in runs if run.chosen is not None]
    right = sum(_is_right(chosen, scenario) for chosen in named)
    return BanditPower(
        policy=shares.policy,
        median_units=_within(reached, 0.5, scenario),
        late_units=_within(reached, 0.8, scenario),
        regret=float(np.mean([run.regret for run in runs])),
        even_regret=float(np.mean([run.even_regret for run in runs])),
        right=right / len(runs),
        wrong=(len(named) - right) / len(runs),
        undecided=1 - len(named) / len(runs),
        largest_is_wrong=float(np.mean([run.largest not in best for run in runs])),
    )


@dataclass(frozen=True)
class _Run:
    reached: int
    """Batches that were over when the best arm got the wanted share for good; more than all of them: it did not."""
    regret: float
    even_regret: float
    chosen: str | None
    largest: VersionName


def _run(
    scenario: BanditScenario, shares: BanditRule, rule: ArmsRule, wanted: int, rng: np.random.Generator
) -> _Run:
    arms = scenario.arms
    champion, best = arms[0], _best(scenario)
    weights = dict(zip(arms, whole_shares([1 / len(arms)] * len(arms), 1), strict=True))
    moves: list[MovedWeights] = []
    record = _Record(arms, scenario.late)
    latch: Latch | None = None
    chosen: str | None = None
    # The first weights are equal, and move when the first batch is over.
    reached = 1
    for batch in range(scenario.batches):
        since = START + batch * BATCH
        if not moves or moves[-1].weights != weights:
            moves = [*(replace(move, until=move.until or since) for move in moves)]
            moves.append(MovedWeights(weights, batch, since=since))
        record.add(moves[-1].since or since, _batch(scenario, weights, rng))
        evidence = record.evidence()
        if chosen is None:
            compared = MovingShares(moves, rule.better)
            told = judge_arms(evidence, rule, weights, latched=latch, comparison=compared)
            latch = told.latch
            if told.verdict is Verdict.SUCCESSFUL:
                chosen = told.arm
            elif told.verdict is Verdict.FAILED:
                chosen = champion
        # A verdict that is frozen for good leaves the weights where they are.
        if latch is None or latch.verdict is not Verdict.INCONCLUSIVE:
            weights = shares_of(shares, _rewards(evidence, arms, rule, shares)) or weights
        if sum(weights[arm] for arm in best) < wanted:
            reached = batch + 2
    lost = regret(
        {str(arm): evidence.total(arm).assigned for arm in arms},
        {str(arm): mean for arm, mean in zip(arms, scenario.means, strict=True)},
    )
    return _Run(reached, lost.bandit, lost.even, chosen, max(arms, key=lambda arm: weights[arm]))


def _batch(
    scenario: BanditScenario, weights: Mapping[VersionName, int], rng: np.random.Generator
) -> dict[VersionName, ArmSums]:
    arms = scenario.arms
    counts = rng.multinomial(scenario.units_per_batch, [weights[arm] / 100 for arm in arms])
    return {
        arm: _drawn(int(count), mean, scenario.deviation, rng)
        for arm, count, mean in zip(arms, counts, scenario.means, strict=True)
    }


def _drawn(count: int, mean: float, deviation: float | None, rng: np.random.Generator) -> ArmSums:
    if deviation is None:
        ones = float(rng.binomial(count, mean))
        return ArmSums(count, count, count, ones, ones, ones)
    values = rng.normal(mean, deviation, count)
    total, squares, cubes = (float((values**power).sum()) for power in (1, 2, 3))
    return ArmSums(count, count, count, total, squares, cubes)


def _rewards(
    evidence: ArmsEvidence, arms: Sequence[VersionName], rule: ArmsRule, shares: BanditRule
) -> dict[VersionName, Rewards]:
    return {arm: rewards_of(evidence.total(arm), rule.better, is_share=shares.is_binary) for arm in arms}


class _Record:
    """Sums by stretch of equal weights; those of a batch are known once `late` further ones are over."""

    def __init__(self, arms: Sequence[VersionName], late: int) -> None:
        self._arms = arms
        self._late = late
        self._stretches: dict[datetime, dict[VersionName, ArmSums]] = {}
        self._waiting: deque[tuple[datetime, dict[VersionName, ArmSums]]] = deque()

    def add(self, start: datetime, sums: dict[VersionName, ArmSums]) -> None:
        stretch = self._stretches.setdefault(start, dict.fromkeys(self._arms, ArmSums()))
        for arm, one in sums.items():
            stretch[arm] = summed((stretch[arm], ArmSums(assigned=one.assigned)))
        self._waiting.append((start, sums))
        if len(self._waiting) > self._late:
            begun, known = self._waiting.popleft()
            for arm, one in known.items():
                before = self._stretches[begun][arm]
                self._stretches[begun][arm] = summed((before, replace(one, assigned=0)))

    def evidence(self) -> ArmsEvidence:
        return ArmsEvidence(tuple(ArmDay(start, dict(arms)) for start, arms in self._stretches.items()))


def _best(scenario: BanditScenario) -> tuple[VersionName, ...]:
    """Arms with the largest mean."""
    most = max(scenario.means)
    return tuple(arm for arm, mean in zip(scenario.arms, scenario.means, strict=True) if mean == most)


def _is_right(chosen: str, scenario: BanditScenario) -> bool:
    """Whether the verdict is true: the champion is best alone, or the arm is a best one and better than it."""
    best, champion = _best(scenario), scenario.arms[0]
    return best == (champion,) if chosen == champion else chosen in best and champion not in best


def _within(reached: Sequence[int], share: float, scenario: BanditScenario) -> int | None:
    """Units after which so many runs kept the wanted share; None: not by the deadline, or there is no best arm."""
    batches = sorted(reached)[math.ceil(share * len(reached)) - 1]
    if batches > scenario.batches or len(set(scenario.means)) == 1:
        return None
    return batches * scenario.units_per_batch
