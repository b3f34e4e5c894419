"""Statements about a mean that stay true however often one looks.

A confidence sequence holds at all looks at once with probability 1-alpha, an e-value may be compared with 1/alpha
at any look. The t-mixture (Lai 1976; Lindon et al. 2022; Wang & Ramdas 2024) needs neither a known variance nor
many units, which is why it is the default; radii are in units of the sample standard deviation (ddof 1), so that
they depend on three numbers only and are cached.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache

from scipy.special import ndtri, stdtr, stdtrit

SUSPICION = 0.1
"""Level of the ordinary test by which a challenger looks worse before it is shown to be."""


@cache
def mixture_scale(planned_units: int, alpha: float) -> float:
    """g of the mixing distribution N(theta, g sigma^2), tuned to decide near `planned_units` (Howard et al. 2021)."""
    return (-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))) / planned_units


def _t_mixture_radius(units: int, spread: float, log_c: float) -> float:
    # `log_c` overflows no float even for one unit, where c itself would be 1/alpha^2 and more.
    if units < 2 or log_c >= math.log(spread):
        return math.inf
    c = math.exp(log_c)
    return math.sqrt((units - 1) * (c - 1) / (1 - c / spread) / units)


@cache
def two_sided_radius(units: int, *, planned_units: int, alpha: float) -> float:
    """Half width, in standard deviations, of the t-mixture confidence sequence; infinite with too few units."""
    spread = 1 + units * mixture_scale(planned_units, alpha)
    return _t_mixture_radius(units, spread, (math.log(spread) - 2 * math.log(alpha)) / max(units, 1))


@cache
def one_sided_radius(units: int, *, planned_units: int, alpha: float) -> float:
    """Distance, in standard deviations, from the mean to a one-sided bound; infinite with too few units."""
    spread = 1 + units * mixture_scale(planned_units, alpha)
    return _t_mixture_radius(units, spread, 2 * math.log1p(math.sqrt(spread) / (2 * alpha)) / max(units, 1))


@cache
def suspicion_radius(units: int) -> float:
    """Distance, in standard deviations, from the mean to the bound of an ordinary one-sided t test at `SUSPICION`.

    It holds at one look alone, so it shows nothing to whoever looks again and again: it is a reason to wait, not to
    reject. Infinite with too few units.
    """
    if units < 2:
        return math.inf
    return float(stdtrit(units - 1, 1 - SUSPICION)) / math.sqrt(units)


@cache
def asymptotic_radius(units: int, *, planned_units: int, alpha: float) -> float:
    """Half width of the asymptotic confidence sequence (Waudby-Smith et al. 2024): for thousands of units only."""
    g = mixture_scale(planned_units, alpha)
    spread = 1 + units * g
    return math.sqrt(spread / (units * units * g) * math.log(spread / alpha**2))


def log_bayes_factor(units: int, t: float, *, planned_units: int, alpha: float) -> float:
    """ln of the two-sided e-value against "the mean is the threshold"; t = sqrt(n)(mean - threshold)/sd."""
    if units < 2:
        return 0.0
    spread = 1 + units * mixture_scale(planned_units, alpha)
    degrees = units - 1
    return -0.5 * math.log(spread) + units / 2 * (
        math.log1p(t * t / degrees) - math.log1p(t * t / (degrees * spread))
    )


def log_e_value(units: int, t: float, *, planned_units: int, alpha: float) -> float:
    """ln of the one-sided e-value against "the mean is at most the threshold" (Grünwald & Koolen 2025)."""
    if units < 2:
        return 0.0
    g = mixture_scale(planned_units, alpha)
    spread = 1 + units * g
    argument = t * units * math.sqrt(g / spread) / math.sqrt(units - 1 + t * t / spread)
    tail = float(stdtr(units, argument))
    if tail <= 0:
        return -math.inf
    return math.log(2) + log_bayes_factor(units, t, planned_units=planned_units, alpha=alpha) + math.log(tail)


def fixed_budget_boundary(units_promised: int, *, alpha: float) -> float:
    """Sum in standard deviations at which to stop when exactly `units_promised` >= 100 independent units were promised.

    One-sided alpha by reflection of Brownian motion; the first look is at 7 units or later and the promise never
    changes.
    """
    if units_promised < 100:
        raise ValueError(f"units_promised: {units_promised} is below 100, where the boundary is not valid")
    return float(ndtri(1 - alpha / 2)) * math.sqrt(units_promised)


def log_betting_wealth(differences: Iterable[float], *, bound: float, threshold: float) -> float:
    """Largest ln wealth of a bettor against "the mean is at most `threshold`"; reject at ln(1/alpha).

    Finite-sample valid for independent differences in [-bound, bound], however skewed (Waudby-Smith & Ramdas 2024).
    Use it for requests that are independent; never for requests of one day that are not.
    """
    null = (threshold + bound) / (2 * bound)
    if not 0 < null < 1:
        raise ValueError(f"threshold: {threshold} is outside (-{bound}, {bound})")
    mean, squares = 0.5, 0.25
    total, wealth, best = 0.0, 0.0, 0.0
    for seen, difference in enumerate(differences, start=1):
        x = (difference + bound) / (2 * bound)
        if not 0 <= x <= 1:
            raise ValueError(f"difference: {difference} is outside [-{bound}, {bound}]")
        # Only what was known before this unit may set the bet.
        edge = mean - null
        bet = min(max(edge / (squares / seen + edge * edge), 0.0), 0.5 / null)
        wealth += math.log1p(bet * (x - null))
        best = max(best, wealth)
        total += x
        mean = (0.5 + total) / (seen + 1)
        squares += (x - mean) ** 2
    return best
