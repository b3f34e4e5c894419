"""When a test that is looked at all the time will have decided: first passage of its statistic over its bound.

The sum of many independent units is Brownian motion with drift, and the bound of the t-mixture for many units is the
curve sqrt(r/g ln(r/alpha^2)) with r = 1 + n g. The density of the first passage solves the Volterra equation of
Buonocore, Nobile and Ricciardi (1987), whose kernel has no singularity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from scipy.special import ndtr

from capstan.domain.verdicts.confidence import mixture_scale

_STEPS = 240
_START_POINTS = 60


@dataclass(frozen=True)
class Passage:
    """Share of experiments that have decided for the true side, by units; both rise."""

    units: tuple[float, ...]
    decided: tuple[float, ...]

    def reaches(self, share: float) -> float | None:
        """Units by which this share has decided; None: not by the last of `units`."""
        if self.decided[0] >= share:
            return self.units[0]
        points = zip(self.units, self.decided, strict=True)
        for (before, low), (after, high) in pairwise(points):
            if high >= share:
                return before + (after - before) * (share - low) / (high - low)
        return None


def first_passage(drift: float, *, first: float, last: float, planned_units: int, alpha: float) -> Passage:
    """Of the two-sided t-mixture looked at from `first` to `last` units; `drift` > 0 is the effect in sd of a unit.

    Looks are at every unit. Looks at every day decide up to a day later. Crossing on the wrong side, which is rarer
    than alpha / 2, is left out.
    """
    scale = mixture_scale(planned_units, alpha)
    width = (last - first) / _STEPS
    times = [first + step * width for step in range(_STEPS + 1)]
    bounds, slopes = [], []
    for time in times:
        spread = 1 + time * scale
        log_term = math.log(spread) - 2 * math.log(alpha)
        bounds.append(math.sqrt(spread / scale * log_term))
        slopes.append((log_term + 1) / (2 * bounds[-1]))
    at_once = float(ndtr((drift * first - bounds[0]) / math.sqrt(first)))
    start = _undecided(drift, first, bounds[0])
    densities: list[float] = []
    decided = [at_once]
    for place in range(1, _STEPS + 1):
        time, bound, slope = times[place], bounds[place], slopes[place]
        density = -sum(weight * _kernel(time - first, bound - where, slope, drift) for where, weight in start)
        for earlier, known in enumerate(densities, start=1):
            gap = time - times[earlier]
            density += width * known * _kernel(gap, bound - bounds[earlier], slope, drift)
        densities.append(max(density, 0.0))
        before = densities[-2] if place > 1 else densities[-1]
        decided.append(min(decided[-1] + width * (before + densities[-1]) / 2, 1.0))
    return Passage(tuple(times), tuple(decided))


def _kernel(gap: float, distance: float, slope: float, drift: float) -> float:
    """Twice the kernel: density of moving `distance` in `gap`, times slope less the mean slope of the way."""
    z = (distance - drift * gap) / math.sqrt(gap)
    return math.exp(-z * z / 2) / math.sqrt(2 * math.pi * gap) * (slope - distance / gap)


def _undecided(drift: float, first: float, bound: float) -> list[tuple[float, float]]:
    """Where the sum is at the first look if it has not passed, with the chance of each place."""
    deviation = math.sqrt(first)
    lowest = drift * first - 6 * deviation
    highest = min(bound, drift * first + 6 * deviation)
    if highest <= lowest:
        return []
    width = (highest - lowest) / _START_POINTS
    edges = [float(ndtr((lowest + i * width - drift * first) / deviation)) for i in range(_START_POINTS + 1)]
    return [(lowest + (i + 0.5) * width, edges[i + 1] - edges[i]) for i in range(_START_POINTS)]
