"""How often and how soon a rule decides, simulated before anybody waits for it.

Requests of a block share its effect, which is all that the spread of a block needs to say. Effects of neighbouring
blocks are independent or go together as an AR(1) series does; blocks are merged as the verdict merges them. All
differences see the same noise, so that rows of the table differ by the difference alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from capstan.domain.verdicts.blocks import MAX_AUTOCORRELATION
from capstan.domain.verdicts.confidence import suspicion_radius
from capstan.domain.verdicts.quality import Decide, QualityRule
from capstan.domain.verdicts.spells import AUTOCORRELATIONS, LIKELIHOOD, VARIANCE

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
    autocorrelation: float = 0.0
    """Lag 1, of the blocks' effects."""


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
    """Minimum of blocks -> share promoted by the deadline."""


class Simulation:
    """Blocks of many rollouts, drawn once from the scenario's seed."""

    def __init__(self, scenario: Scenario, *, merges: bool = True) -> None:
        """`merges` False: blocks are taken for independent whatever they say, which no verdict does."""
        rng = np.random.default_rng(scenario.seed)
        shape = (scenario.runs, scenario.blocks)
        self.scenario = scenario
        self.merges = merges
        self.counts = np.maximum(rng.poisson(scenario.requests_per_block, shape), 1).astype(float)
        effects = _standard_effects(rng, shape, scenario.skewness)
        self.effects = _following(effects, scenario.autocorrelation) * scenario.spread * self.counts
        self._units: dict[int, _Units] = {}

    def crossings(
        self, rule: QualityRule, difference: float
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Rollout x block: shown above the promotion threshold; shown below the rejection threshold."""
        units = self.units(rule)
        above = np.zeros(self.effects.shape, dtype=np.bool_)
        below = np.zeros(self.effects.shape, dtype=np.bool_)
        for size in range(1, int(units.size.max()) + 1):
            used = units.size == size
            used[:, : rule.least_blocks - 1] = False
            if not used.any():
                continue
            effects, counts = _joined(self.effects, size), _joined(self.counts, size)
            last = self._last_unit(size)
            radius = _by_units(rule.radius, effects.shape[1])
            over = _exceeds(effects + (difference - rule.promote_above) * counts, radius)[:, last]
            under = _exceeds((rule.reject_below - difference) * counts - effects, radius)[:, last]
            above |= used & units.is_independent & over
            below |= used & (units.is_independent | (size > 1)) & under
        if self.merges:
            means = self.effects / self.counts + difference
            above &= no_spell(means - rule.promote_above, rule.two_sided_alpha)
            below &= no_spell(means - rule.reject_below, rule.two_sided_alpha)
        return above, below

    def suspicions(self, rule: QualityRule, difference: float) -> npt.NDArray[np.bool_]:
        """Rollout x block: looks worse, as `QualityRule.looks_worse` says."""
        units = self.units(rule)
        worse = np.zeros(self.effects.shape, dtype=np.bool_)
        for size in range(1, int(units.size.max()) + 1):
            effects, counts = _joined(self.effects, size), _joined(self.counts, size)
            radius = _by_units(self.suspicion_radius, effects.shape[1])
            under = _exceeds((rule.reject_below - difference) * counts - effects, radius)
            worse |= (units.size == size) & under[:, self._last_unit(size)]
        return worse

    def suspicion_radius(self, units: int) -> float:
        """In standard deviations; another in simulations of other rules than the product's."""
        return suspicion_radius(units)

    def _last_unit(self, size: int) -> npt.NDArray[np.int64]:
        """What is known after a block is what was known after its last full unit."""
        last: npt.NDArray[np.int64] = np.maximum(np.arange(1, self.scenario.blocks + 1) // size - 1, 0)
        return last

    def units(self, rule: QualityRule) -> _Units:
        """Rollout x block: how many blocks are merged then; a true difference changes nothing about it."""
        least = rule.least_units
        if least not in self._units:
            self._units[least] = self._merged(least)
        return self._units[least]

    def _merged(self, least: int) -> _Units:
        shape = self.effects.shape
        size, is_independent = np.ones(shape, dtype=np.int64), np.ones(shape, dtype=np.bool_)
        if not self.merges:
            return _Units(size, is_independent)
        shortest = np.ones(shape[0], dtype=np.int64)
        correlations = {
            n: _autocorrelations(_joined(self.effects, n), _joined(self.counts, n))
            for n in range(1, shape[1] // least + 1)
        }
        for closed in range(least, shape[1] + 1):
            found = np.zeros(shape[0], dtype=np.int64)
            for n in range(1, closed // least + 1):
                low = correlations[n][:, closed // n - 1] <= MAX_AUTOCORRELATION
                found = np.where((found == 0) & (n >= shortest) & low, n, found)
            shortest = np.maximum(shortest, found)
            is_independent[:, closed - 1] = found > 0
            size[:, closed - 1] = np.where(found > 0, found, closed // least)
        return _Units(size, is_independent)

    def passes(self, rule: QualityRule, difference: float) -> npt.NDArray[np.bool_]:
        """Rollout x block: enough and no suspicion, so that UnlessWorse passes what was not rejected before."""
        units = self.units(rule)
        passes = units.is_independent & ~self.suspicions(rule, difference)
        if self.merges:
            # Else nothing bounds yet even a difference beyond all measure, so nothing could have been shown worse.
            passes &= no_spell(np.ones_like(self.counts), rule.two_sided_alpha)
        passes[:, : rule.least_blocks - 1] = False
        return passes

    def power(self, rule: QualityRule, difference: float) -> Power:
        """Shares of promotions and rejections by the deadline, and the blocks until promotion."""
        above, below = self.crossings(rule, difference)
        never = self.scenario.blocks + 1
        rejected_at = np.where(below.any(axis=1), below.argmax(axis=1) + 1, never)
        if rule.decide is Decide.UNLESS_WORSE:
            passes = self.passes(rule, difference)
            passed_at = np.where(passes.any(axis=1), passes.argmax(axis=1) + 1, never)
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
        """Share that UnlessWorse promotes by the deadline when it first looks at each of these numbers of blocks."""
        by_blocks = {}
        for least in minima:
            later = replace(rule, min_blocks=least)
            by_blocks[least] = self.power(later, difference).promoted
        return LetThrough(difference, by_blocks)


@dataclass(frozen=True)
class _Units:
    """Rollout x block."""

    size: npt.NDArray[np.int64]
    is_independent: npt.NDArray[np.bool_]

    @property
    def number(self) -> npt.NDArray[np.int64]:
        """Full units there are."""
        number: npt.NDArray[np.int64] = np.arange(1, self.size.shape[1] + 1) // self.size
        return number


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


def no_spell(tested: Floats, alpha: float, *, likelihood: float = LIKELIHOOD) -> npt.NDArray[np.bool_]:
    """Rollout x block: a mean other than 0 is likelier by enough than a spell, as `Neighbours.bounds` has it."""
    seen = np.arange(1, tested.shape[1] + 1)
    explained = VARIANCE / (1 + VARIANCE) * tested.cumsum(axis=1) ** 2 / seen
    with np.errstate(divide="ignore", invalid="ignore"):
        different = -0.5 * np.log1p(VARIANCE) - seen / 2 * np.log((tested**2).cumsum(axis=1) - explained)
        spells = [_log_spell(tested, autocorrelation) for autocorrelation in AUTOCORRELATIONS]
        return np.asarray(different - np.max(spells, axis=0) >= np.log(likelihood / alpha))


def _log_spell(tested: Floats, autocorrelation: float) -> Floats:
    """ln density of an AR(1) series of mean 0 up to each block, less what all share."""
    seen, kept = np.arange(1, tested.shape[1] + 1), 1 - autocorrelation**2
    steps = tested[:, 1:] - autocorrelation * tested[:, :-1]
    first = tested[:, :1] ** 2
    squares = np.concatenate([first, first + (steps**2).cumsum(axis=1) / kept], axis=1)
    return np.asarray(-0.5 * (seen - 1) * np.log(kept) - seen / 2 * np.log(squares))


def _standard_effects(rng: np.random.Generator, shape: tuple[int, int], skewness: float) -> Floats:
    if skewness == 0:
        return rng.standard_normal(shape)
    form = 4 / skewness**2
    return np.asarray((form - rng.gamma(form, size=shape)) / np.sqrt(form) * np.sign(skewness))


def _following(effects: Floats, autocorrelation: float) -> Floats:
    """The AR(1) series of unit variance that these innovations make; themselves without autocorrelation."""
    if not autocorrelation:
        return effects
    found = effects.copy()
    for block in range(1, effects.shape[1]):
        fresh = np.sqrt(1 - autocorrelation**2) * effects[:, block]
        found[:, block] = autocorrelation * found[:, block - 1] + fresh
    return found


def _joined(values: Floats, size: int) -> Floats:
    """Rollout x unit: sums of `size` neighbours; an unfinished last unit is left out."""
    full = values.shape[1] // size
    joined: Floats = values[:, : full * size].reshape(len(values), full, size).sum(axis=2)
    return joined


def _by_units(radius: Callable[[int], float], units: int) -> Floats:
    """The radius after each number of units up to `units`."""
    return np.array([radius(seen) for seen in range(1, units + 1)])


def _exceeds(tested: Floats, radius: Floats) -> npt.NDArray[np.bool_]:
    """Rollout x unit: the mean up to there is more than `radius` standard deviations above 0."""
    seen = np.arange(1, tested.shape[1] + 1, dtype=float)
    mean = tested.cumsum(axis=1) / seen
    squares = (tested**2).cumsum(axis=1) - seen * mean**2
    deviation = np.sqrt(np.maximum(squares, 0) / np.maximum(seen - 1, 1))
    finite = np.isfinite(radius)
    return np.asarray(finite & (mean > np.where(finite, radius, 0.0) * deviation))


def _autocorrelations(effects: Floats, counts: Floats) -> Floats:
    """Rollout x unit: lag 1 of the residuals of all units up to there."""
    difference = effects.cumsum(axis=1) / counts.cumsum(axis=1)

    def of(first: Floats, second: Floats) -> Floats:
        return np.asarray((first * second).cumsum(axis=1))

    def around(sums: Floats, crossed: Floats, squares: Floats) -> Floats:
        return np.asarray(sums - difference * crossed + difference**2 * squares)

    def next_to(first: Floats, second: Floats) -> Floats:
        products = of(first[:, :-1], second[:, 1:])
        return np.concatenate([np.zeros((len(first), 1)), products], axis=1)

    lagged = around(
        next_to(effects, effects),
        next_to(effects, counts) + next_to(counts, effects),
        next_to(counts, counts),
    )
    squares = around(of(effects, effects), 2 * of(effects, counts), of(counts, counts))
    return np.divide(lagged, squares, out=np.zeros_like(lagged), where=squares > 0)


def _within(waited: npt.NDArray[np.int64], share: float, never: int) -> int | None:
    blocks = int(waited[int(np.ceil(share * len(waited))) - 1])
    return blocks if blocks < never else None
