"""Outcomes of units with a known distribution, the same in every arm or with a known gain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, int]], Floats]

BUYERS = 0.05
LOG_MEAN, LOG_SPREAD = 3.0, 1.5
CAP = 436.0
"""The 99.9 % quantile of `revenue`, as a period before the experiment would tell."""


def gaussian(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Mean 0, variance 1."""
    return rng.standard_normal(shape)


def proportion(share: float) -> Draw:
    """1 with this chance, else 0."""
    return lambda rng, shape: (rng.random(shape) < share).astype(np.float64)


def exponential(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Mean 1, skewness 2."""
    return rng.exponential(size=shape)


def revenue(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """5 % of units buy, for the exponential of a Gaussian: skewness about 150."""
    bought = rng.random(shape) < BUYERS
    found = np.zeros(shape)
    found[bought] = np.exp(rng.normal(LOG_MEAN, LOG_SPREAD, int(bought.sum())))
    return found


def capped_revenue(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """The same, of which no unit counts for more than the cap."""
    return np.minimum(revenue(rng, shape), CAP)


@dataclass(frozen=True)
class Scenario:
    """What is measured of units, and how many of a hundred get the treatment."""

    name: str
    draw: Draw
    treated: int = 50
    is_share: bool = False


SCENARIOS = (
    Scenario("Gaussian", gaussian),
    Scenario("Gaussian, 90 : 10", gaussian, treated=10),
    Scenario("share of 1 %", proportion(0.01), is_share=True),
    Scenario("share of 1 %, 90 : 10", proportion(0.01), treated=10, is_share=True),
    Scenario("exponential, 90 : 10", exponential, treated=10),
    Scenario("revenue, heavy tail", revenue),
    Scenario("revenue, capped", capped_revenue),
    Scenario("revenue, heavy tail, 90 : 10", revenue, treated=10),
    Scenario("revenue, capped, 90 : 10", capped_revenue, treated=10),
)
