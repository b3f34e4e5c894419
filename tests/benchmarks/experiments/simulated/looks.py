"""The product's tests of two arms, for many experiments and many looks at once.

Each function says what `always_valid`, `welch` and `proportions` of `capstan.domain.verdicts.experiments` say of one
experiment; a test holds them equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, stdtr

from capstan.domain.verdicts.confidence import two_sided_radius
from capstan.domain.verdicts.skewness import LARGEST_SKEWNESS

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_SURELY_ABOVE = 1.9
"""A t-statistic below it has no p-value of 0.05, whatever the degrees of freedom: it is not computed."""


@dataclass(frozen=True)
class Arm:
    """Run x look: units of the arm until then, mean, variance (ddof 1) and skewness of their outcomes."""

    units: Floats
    mean: Floats
    variance: Floats
    skewness: Floats

    @property
    def error(self) -> Floats:
        """Squared standard error of the mean."""
        return np.asarray(self.variance / self.units)


def arms(values: Floats, treated: Bools, looks: npt.NDArray[np.int64]) -> tuple[Arm, Arm]:
    """Control and treatment at these numbers of units; `values` and `treated` are run x unit."""
    starts = np.concatenate([[0], looks[:-1]])
    last = int(looks[-1])
    values, treated = values[:, :last], treated[:, :last]
    squares = values * values
    powers = [np.ones_like(values), values, squares, squares * values]
    sums = [np.add.reduceat(part, starts, axis=1).cumsum(axis=1) for part in powers]
    own = [np.add.reduceat(part * treated, starts, axis=1).cumsum(axis=1) for part in powers]
    return _arm(*(one - other for one, other in zip(sums, own, strict=True))), _arm(*own)


def _arm(units: Floats, total: Floats, squares: Floats, cubes: Floats) -> Arm:
    count = np.maximum(units, 1)
    mean = total / count
    second = np.maximum(squares / count - mean * mean, 0)
    third = cubes / count - 3 * mean * squares / count + 2 * mean**3
    skewness = np.divide(third, second**1.5, out=np.zeros_like(third), where=second > 0)
    return Arm(units, mean, second * units / np.maximum(units - 1, 1), skewness)


def always_valid_decides(
    control: Arm, treatment: Arm, looks: npt.NDArray[np.int64], *, alpha: float, planned_units: int
) -> Bools:
    """Whether the always-valid interval is bounded and excludes 0 at each look."""
    radius = radii(tuple(looks.tolist()), planned_units, alpha) * np.sqrt(looks)
    error = np.sqrt(control.error + treatment.error)
    finite = np.isfinite(radius)
    beyond = np.abs(treatment.mean - control.mean) > np.where(finite, radius, 0.0) * error
    return np.asarray(beyond & finite & (error > 0) & ~_are_skewed(control, treatment))


def _are_skewed(control: Arm, treatment: Arm) -> Bools:
    units = control.units + treatment.units
    second = sum(one.units * one.variance for one in (control, treatment)) / units
    third = sum(one.units * one.skewness * one.variance**1.5 for one in (control, treatment)) / units
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.abs(1 / treatment.units**2 - 1 / control.units**2)
        scale = (1 / treatment.units + 1 / control.units) ** 1.5
        found = np.abs(third) / second**1.5 * apart / scale > LARGEST_SKEWNESS
    return np.asarray(found)


@cache
def radii(looks: tuple[int, ...], planned_units: int, alpha: float) -> Floats:
    """The product's radius at each number of units."""
    return np.array([two_sided_radius(look, planned_units=planned_units, alpha=alpha) for look in looks])


def welch_decides(control: Arm, treatment: Arm, *, alpha: float) -> Bools:
    """Whether Welch's p-value is at most alpha at each look."""
    error = control.error + treatment.error
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(treatment.mean - control.mean) / np.sqrt(error)
    found = np.zeros(t.shape, dtype=bool)
    worth = np.isfinite(t) & (t > (_SURELY_ABOVE if alpha <= 0.05 else 0.0))
    degrees = error[worth] ** 2 / sum(
        one.error[worth] ** 2 / (one.units[worth] - 1) for one in (control, treatment)
    )
    found[worth] = 2 * stdtr(degrees, -t[worth]) <= alpha
    return found


def proportions_decide(control: Arm, treatment: Arm, *, alpha: float) -> Bools:
    """Whether the p-value of the pooled z-test is at most alpha at each look."""
    units = control.units + treatment.units
    pooled = (control.mean * control.units + treatment.mean * treatment.units) / units
    error = np.sqrt(np.maximum(pooled * (1 - pooled), 0) * (1 / control.units + 1 / treatment.units))
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.abs(treatment.mean - control.mean) / error
    return np.asarray(np.isfinite(z) & (2 * ndtr(-z) <= alpha))
