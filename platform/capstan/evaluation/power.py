"""How often and how soon a rule decides, simulated before anybody waits for it.

Blocks are independent; requests of a block share its effect, which is all that the spread of a block needs to say. All
differences see the same noise, so that rows of the table differ by the difference alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from capstan.domain.verdicts.quality import Decide, QualityRule

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scenario:
    """The blocks that a rollout would see."""

    spread: float = 0.059
    """Standard deviation over blocks of the loss difference per request; days of flights: 0.059."""
    requests_per_block: int = 500
    skewness: float = 0.0
    """Of the blocks' effects; the heavy tail is on the challenger's bad side."""
    blocks: int = 40
    """The deadline in closed blocks."""
    runs: int = 2000
    seed: int = 0


@dataclass(frozen=True)
class Power:
    """What one rule did with one true difference."""

    decide: Decide
    difference: float
    promoted: float
    rejected: float
    undecided: float
    median_blocks: int | None
    """Until promotion, over all rollouts; None when fewer than half get there by the deadline."""
    late_blocks: int | None
    """The same for four rollouts in five."""


@dataclass(frozen=True)
class LetThrough:
    """How often UnlessWorse promotes a challenger of this true difference."""

    difference: float
    by_blocks: dict[int, float]
    """Minimum of blocks -> share promoted at the first look."""


class Simulation:
    """Blocks of many rollouts, drawn once from the scenario's seed."""

    def __init__(self, scenario: Scenario) -> None:
        rng = np.random.default_rng(scenario.seed)
        shape = (scenario.runs, scenario.blocks)
        self.scenario = scenario
        self.counts = np.maximum(rng.poisson(scenario.requests_per_block, shape), 1).astype(float)
        self.effects = _standard_effects(rng, shape, scenario.skewness) * scenario.spread * self.counts
        self._seen = np.arange(1, scenario.blocks + 1, dtype=float)

    def crossings(
        self, rule: QualityRule, difference: float
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Rollout x block: shown above the promotion threshold; shown below the rejection threshold."""
        radius = np.array([rule.radius(seen) for seen in range(1, self.scenario.blocks + 1)])
        radius[: rule.least_blocks - 1] = np.inf
        above = self._t_excess(difference - rule.promote_above, radius)
        below = self._t_excess(rule.reject_below - difference, radius, sign=-1.0)
        return above, below

    def _t_excess(self, distance: float, radius: Floats, sign: float = 1.0) -> npt.NDArray[np.bool_]:
        tested = sign * self.effects + distance * self.counts
        mean = tested.cumsum(axis=1) / self._seen
        squares = (tested**2).cumsum(axis=1) - self._seen * mean**2
        deviation = np.sqrt(np.maximum(squares, 0) / np.maximum(self._seen - 1, 1))
        finite = np.isfinite(radius)
        return np.asarray(finite & (mean > np.where(finite, radius, 0.0) * deviation))

    def power(self, rule: QualityRule, difference: float) -> Power:
        """Shares of promotions and rejections by the deadline, and the blocks until promotion."""
        above, below = self.crossings(rule, difference)
        never = self.scenario.blocks + 1
        rejected_at = np.where(below.any(axis=1), below.argmax(axis=1) + 1, never)
        if rule.decide is Decide.UNLESS_WORSE:
            passed_at = np.full(self.scenario.runs, min(rule.least_blocks, never))
        else:
            passed_at = np.where(above.any(axis=1), above.argmax(axis=1) + 1, never)
        # A rejection at the same look comes first, as it does in the verdict.
        promoted = (passed_at < rejected_at) & (passed_at < never)
        rejected = (rejected_at <= passed_at) & (rejected_at < never)
        waited = np.sort(np.where(promoted, passed_at, never))
        return Power(
            decide=rule.decide,
            difference=difference,
            promoted=float(promoted.mean()),
            rejected=float(rejected.mean()),
            undecided=float((~promoted & ~rejected).mean()),
            median_blocks=_within(waited, 0.5, never),
            late_blocks=_within(waited, 0.8, never),
        )

    def let_through(self, rule: QualityRule, difference: float, minima: Sequence[int]) -> LetThrough:
        """Share that UnlessWorse promotes when its first look comes at each of these minimum numbers of blocks."""
        _, below = self.crossings(rule, difference)
        return LetThrough(difference, {least: float(1 - below[:, least - 1].mean()) for least in minima})


def simulate_power(
    scenario: Scenario,
    rules: Sequence[QualityRule],
    differences: Sequence[float],
    *,
    advance: Callable[[int], None] | None = None,
) -> list[Power]:
    """One row for each rule and true difference; `advance` is told how many rows are done."""
    simulation = Simulation(scenario)
    rows = []
    for rule in rules:
        for difference in differences:
            rows.append(simulation.power(rule, difference))
            if advance is not None:
                advance(len(rows))
    return rows


def _standard_effects(rng: np.random.Generator, shape: tuple[int, int], skewness: float) -> Floats:
    if skewness == 0:
        return rng.standard_normal(shape)
    form = 4 / skewness**2
    return np.asarray((form - rng.gamma(form, size=shape)) / np.sqrt(form) * np.sign(skewness))


def _within(waited: npt.NDArray[np.int64], share: float, never: int) -> int | None:
    blocks = int(waited[int(np.ceil(share * len(waited))) - 1])
    return blocks if blocks < never else None
