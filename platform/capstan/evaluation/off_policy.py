"""What a policy would have earned, estimated from rounds in which another policy chose the actions.

The estimators are those of Open Bandit Pipeline (Saito et al. 2021, section 3): direct method, inverse propensity
scoring, its self-normalised form, and the doubly robust one (Dudík et al. 2014).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from capstan.evaluation.bootstrap import day_weights

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

LEAST_EFFECTIVE = 100
"""Effective rounds below which no interval is told: a few large weights decide, and draws do not show it."""
MOST_UNSEEN = 0.001
"""Share of the policy's choices that may be of actions which no round has."""
FARTHEST_MEAN = 4.0
"""Standard errors by which the mean weight may differ from 1."""
LARGEST_SHARE = 0.01
"""Of the rounds: those with the largest weights, whose part of all weight is told."""


@dataclass(frozen=True)
class Rounds:
    """Logged rounds and what the judged policy would have done in them."""

    taken: Numbers
    """(rounds,): the place of the logged action in the list of actions."""
    propensity: Floats
    """(rounds,): the probability with which it was chosen, above 0."""
    reward: Floats
    """(rounds,)"""
    policy: Floats
    """(rounds, actions): with which probability the judged policy chooses each."""
    expected: Floats | None = None
    """(rounds, actions): rewards that a model expects, which has not learnt from the round itself."""

    @property
    def weights(self) -> Floats:
        """(rounds,): how much more often the judged policy takes the logged action."""
        found: Floats = self.policy[np.arange(len(self.taken)), self.taken] / self.propensity
        return found


@dataclass(frozen=True)
class Estimate:
    """A value per round."""

    value: float
    drawn: Floats
    """The same of each draw of blocks; empty where fewer than two blocks are there."""

    def interval(self, confidence: float) -> tuple[float, float]:
        """Percentiles of the draws; nan where there are none."""
        if not len(self.drawn) or not np.isfinite(self.drawn).all():
            return math.nan, math.nan
        low, high = np.quantile(self.drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
        return float(low), float(high)

    def minus(self, other: Estimate) -> Estimate:
        """The difference; both must come of the same draws."""
        return Estimate(self.value - other.value, self.drawn - other.drawn)


@dataclass(frozen=True)
class Overlap:
    """Whether the logged rounds can tell anything about the policy."""

    effective: float
    """Rounds that would say as much if all weights were alike: (sum of w)² / sum of w² (Kish 1965)."""
    mean_weight: float
    """1 in expectation, if propensities are true and every action that the policy takes was logged."""
    largest: float
    """Part of all weight that the rounds with the largest 1 % of the weights have."""
    missing: str
    """Why the rounds cannot judge the policy; empty: they can."""


class Draws:
    """The same draws of blocks for every estimate, so that differences are paired."""

    def __init__(self, blocks: Numbers, *, rng: np.random.Generator, resamples: int) -> None:
        """`blocks`: (rounds,), what each round is drawn with."""
        names, place = np.unique(blocks, return_inverse=True)
        self._place, self._blocks = place.reshape(-1), len(names)
        self._times = day_weights(self._blocks, rng=rng, resamples=resamples) if len(names) > 1 else None

    def ratio(self, top: Floats, below: Floats | None = None) -> Estimate:
        """Sum of `top` by that of `below`, (rounds,) each; without it, the mean of `top`."""
        below = np.ones(len(top)) if below is None else below
        sums = [np.bincount(self._place, one, self._blocks) for one in (top, below)]
        with np.errstate(divide="ignore", invalid="ignore"):
            value = float(np.float64(sums[0].sum()) / sums[1].sum())
            drawn = np.empty(0) if self._times is None else (self._times @ sums[0]) / (self._times @ sums[1])
        return Estimate(value, drawn)


def estimates(rounds: Rounds, draws: Draws) -> Mapping[str, Estimate]:
    """`ips` and `snips`; with expected rewards `dm` and `dr` too."""
    weights, reward = rounds.weights, rounds.reward
    found = {"ips": draws.ratio(weights * reward), "snips": draws.ratio(weights * reward, weights)}
    if rounds.expected is not None:
        direct = (rounds.policy * rounds.expected).sum(axis=1)
        of_taken = rounds.expected[np.arange(len(reward)), rounds.taken]
        found["dm"] = draws.ratio(direct)
        found["dr"] = draws.ratio(direct + weights * (reward - of_taken))
    return found


def overlap(rounds: Rounds) -> Overlap:
    """Effective rounds, and why they do not suffice."""
    weights = rounds.weights
    total = float(weights.sum())
    effective = effective_rounds(weights)
    mean = total / len(weights)
    error = float(weights.std(ddof=1)) / math.sqrt(len(weights)) if len(weights) > 1 else math.inf
    first = math.ceil(LARGEST_SHARE * len(weights))
    largest = float(np.sort(weights)[-first:].sum()) / total if total else math.nan
    unseen = np.bincount(rounds.taken, minlength=rounds.policy.shape[1]) == 0
    share = float(rounds.policy[:, unseen].sum(axis=1).mean())
    if share > MOST_UNSEEN:
        missing = f"{share:.1%} of the policy's choices are actions that no round has"
    elif effective < LEAST_EFFECTIVE:
        missing = f"the rounds say as much as {effective:,.0f} of the policy's own, and {LEAST_EFFECTIVE} are needed"
    elif abs(mean - 1) > FARTHEST_MEAN * error + 1e-9:
        missing = (
            f"weights are {mean:.4g} in the mean and must be 1: propensities are not those by which actions "
            "were chosen, or the policy takes actions where they were hardly ever logged"
        )
    else:
        missing = ""
    return Overlap(effective, mean, largest, missing)


def effective_rounds(weights: Floats) -> float:
    """Rounds that would say as much if all weights were alike; 0 where all are 0."""
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares else 0.0
