"""What past units say about an experiment that is to come: how many it needs, and how long they take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

from capstan.domain.verdicts.evidence import ArmsEvidence
from capstan.domain.verdicts.sample_size import (
    ExperimentDesign,
    detectable_effect,
    infeasible_experiment,
    run_time,
    sample_size,
    tuned,
)
from capstan.domain.versions import VersionName

HISTORY = timedelta(days=28)
"""How far back units are read before an experiment."""


@dataclass(frozen=True)
class UnitHistory:
    """Units of the champion alone."""

    days: int
    units_per_day: float
    """New ones; where users stick to a version, those who come again are none."""
    mean: float
    variance: float


def read_units(evidence: ArmsEvidence, champion: VersionName) -> UnitHistory | None:
    """The noise of past units; None with fewer than two days that hold some, or too few outcomes."""
    days = [day for day in evidence.days if day.arms.get(champion) and day.arms[champion].assigned]
    sums = evidence.total(champion)
    if len(days) < 2 or sums.units < 30:
        return None
    mean = sums.total / sums.units
    variance = max(sums.squares - sums.total * mean, 0.0) / (sums.units - 1)
    return UnitHistory(len(days), sums.assigned / len(days), mean, variance)


@dataclass(frozen=True)
class Forecast:
    """What an experiment will take."""

    median: timedelta | None
    """Half of such experiments have found the effect by then; None: no effect is named, or none ever does."""
    late: timedelta | None
    """Four of five have."""
    message: str
    problem: str | None = None
    """Why the deadline cannot be met, with the ways out; None: it can, or there is none."""


# The same question takes a second of arithmetic, and a loop that is restarted asks it again.
@lru_cache(maxsize=64)
def forecast(
    design: ExperimentDesign,
    history: UnitHistory,
    *,
    metric: str,
    closes_after: timedelta,
    deadline: timedelta | None,
) -> Forecast:
    """How long the design takes with units as in `history`; an effect of 0 asks what could be found by the deadline.

    `closes_after` is the time from a unit's first request until its outcome is known.
    """
    basis = (
        f"{history.units_per_day:,.0f} new units a day with a mean {metric} of {history.mean:.4g} over the last "
        f"{history.days} days"
    )
    if not design.effect:
        if deadline is None:
            return Forecast(None, None, f"{basis}; name an expectedEffect to be told how long it takes")
        available = int(history.units_per_day * max((deadline - closes_after) / timedelta(days=1), 0.0))
        found = detectable_effect(tuned(design), available) if available else None
        shown = "no effect" if found is None else f"an effect of {found:.3g}"
        return Forecast(
            None, None, f"by its deadline it finds {shown} in {metric} with a power of 80 % ({basis})"
        )
    design = tuned(design)
    size = sample_size(design)
    problem = None
    if deadline is not None:
        problem = infeasible_experiment(
            design, deadline=deadline, units_per_day=history.units_per_day, window=closes_after
        )
    if size is None:
        return Forecast(None, None, f"no number of units shows {design.effect:+.3g} in {metric}", problem)
    late, median = (
        run_time(units, units_per_day=history.units_per_day, window=closes_after)
        for units in (size.units, size.median_units)
    )
    message = (
        f"a distance of {abs(design.effect):.3g} in {metric} is found with a power of 80 % by {size.units:,} units, "
        f"{late / timedelta(days=1):.3g} days, and by half of such experiments within {size.median_units:,} units, "
        f"{median / timedelta(days=1):.3g} days ({basis})"
    )
    return Forecast(median, late, message, problem)
