"""What else could be done about days that hang together, beside what the product does, and what it would cost.

Each rule says after each closed day whether the mean effect of days to come is shown to be above 0 or below it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from benchmarks.experiments.simulated.table import Table, percent

from capstan.domain.verdicts.blocks import MAX_AUTOCORRELATION
from capstan.domain.verdicts.confidence import mixture_scale, two_sided_radius
from capstan.domain.verdicts.quality import LEAST_BLOCKS
from capstan.domain.verdicts.spells import LIKELIHOOD
from capstan.evaluation.power import no_spell

Floats = npt.NDArray[np.float64]
Shown = npt.NDArray[np.bool_]
Advance = Callable[[int], None]
Ways = Callable[[Floats], tuple[Shown, Shown]]
"""Run x day of effects -> shown above 0 and below 0 after that day."""
Must = Callable[[Floats, int], Shown]
"""Of the autocorrelation of so many units: whether they must be merged further."""
Fits = Callable[[Floats, int, int], Shown]
"""Of the autocorrelation of so many single days: whether a length may be used."""
Strict = Callable[[Floats, int], Shown]
"""Of the autocorrelation of so many single days: whether alpha is smaller."""
Moments = tuple[Floats, Floats, Floats]
"""Mean, standard deviation and lag-1 autocorrelation of all units up to one."""

SEED = 811
DAYS, PLANNED, ALPHA = 40, 14, 0.05
CORRELATIONS = (0.0, 0.3, 0.6, 0.8)
GAIN = 0.8
STRICTER, STRONG_AUTOCORRELATION = 5, 0.2
"""A way that the product took before: a fifth of alpha while single days show more than this autocorrelation."""


@cache
def radii(alpha: float, units: int = DAYS) -> Floats:
    """By the number of units, from none on."""
    some = (two_sided_radius(n, planned_units=PLANNED, alpha=alpha) for n in range(1, units + 1))
    return np.array([np.inf, *some])


def ways_to_merge(runs: int, advance: Advance = lambda _: None) -> Table:
    """Wrong verdicts of equal models, and the delay of a gain, by each way."""
    worlds = [effects(correlation, 5 * runs, SEED + place) for place, correlation in enumerate(CORRELATIONS)]
    rows = []
    for name, way in WAYS.items():
        cells = [name]
        cells += [percent(float(np.mean(np.logical_or(*way.shows(world)).any(axis=1)))) for world in worlds]
        cells.append(percent(way.judged_first(worlds[0])))
        cells += [_median(way.shows(world + GAIN)[0]) for world in worlds[:2]]
        rows.append(tuple(cells))
        advance(runs)
    return Table(
        "",
        (
            "what is done",
            *(f"wrong at {correlation:g}" for correlation in CORRELATIONS),
            "judged on day 7 at 0",
            *(f"median days at {correlation:g}" for correlation in CORRELATIONS[:2]),
        ),
        tuple(rows),
        f"{5 * runs:,} rollouts of {DAYS} days, looked at after every day from the seventh on, two-sided at {ALPHA:g}; "
        f"effects of days are AR(1) with this autocorrelation; seeds {SEED} and following. Wrong: equal models are "
        f"called different. Days: until a gain of {GAIN:g} standard deviations of a day is shown, over all rollouts. r "
        "is the autocorrelation of m units. So many times as likely: independent days with a difference against AR(1) "
        "days of 0.3 or 0.6 without one.",
    )


def effects(correlation: float, runs: int, seed: int, days: int = DAYS) -> Floats:
    """An AR(1) series of unit variance for each run."""
    fresh = np.random.default_rng(seed).standard_normal((runs, days))
    found = fresh.copy()
    for day in range(1, days):
        found[:, day] = correlation * found[:, day - 1] + np.sqrt(1 - correlation**2) * fresh[:, day]
    return found


@dataclass(frozen=True)
class Way:
    """One rule."""

    shows: Ways
    must: Must | None = None
    """Of single days: whether it holds back a verdict on the seventh; None: it never does."""

    def judged_first(self, days: Floats) -> float:
        """Share of runs that have a verdict on the seventh day."""
        if self.must is None:
            return 1.0
        return 1.0 - float(self.must(moments(days)[2][:, LEAST_BLOCKS - 1], LEAST_BLOCKS).mean())


def merging(
    must: Must,
    *,
    least: int = LEAST_BLOCKS,
    allowance: float = 0.0,
    fits: Fits | None = None,
    alpha: float = ALPHA,
    strict: Strict | None = None,
) -> Way:
    """Merge while `must` says so of the autocorrelation and the number of units; a length that was used stays.

    `strict` says of single days whether alpha is a fifth then; None: it never is.

    Bounds are widened as if units had the autocorrelation `allowance`. None of `fits`: single days have no say.
    """

    def way(days: Floats) -> tuple[Shown, Shown]:
        last = days.shape[1]
        radius, wider = radii(alpha, last), radii(alpha / STRICTER, last)
        above, below = (np.zeros(days.shape, dtype=np.bool_) for _ in range(2))
        shortest = np.ones(len(days), dtype=np.int64)
        lengths = {size: moments(_joined(days, size)) for size in range(1, last // least + 1)}
        single = moments(days)[2]
        for closed in range(least, last + 1):
            found = np.zeros(len(days), dtype=np.int64)
            for size in range(1, closed // least + 1):
                units = closed // size
                may = ~must(lengths[size][2][:, units - 1], units)
                if fits is not None:
                    may &= fits(single[:, closed - 1], closed, size)
                found = np.where((found == 0) & (size >= shortest) & may, size, found)
            shortest = np.maximum(shortest, found)
            is_strict = strict(single[:, closed - 1], closed) if strict is not None else False
            for size in range(1, closed // least + 1):
                units = closed // size
                mean, deviation, _ = (one[:, units - 1] for one in lengths[size])
                bound = widening(allowance) * np.where(is_strict, wider[units], radius[units]) * deviation
                above[:, closed - 1] |= (found == size) & (mean > bound)
                below[:, closed - 1] |= (found == size) & (mean < -bound)
        return above, below

    def waits(lagged: Floats, units: int) -> Shown:
        return must(lagged, units) | (~fits(lagged, units, 1) if fits is not None else False)

    return Way(way, waits if least <= LEAST_BLOCKS else _always)


def without_spells(must: Must, likelihood: float) -> Way:
    """The same, and a difference must be `likelihood` / alpha times as likely as a spell."""
    merged = merging(must)

    def way(days: Floats) -> tuple[Shown, Shown]:
        certain = no_spell(days, ALPHA, likelihood=likelihood)
        above, below = merged.shows(days)
        return above & certain, below & certain

    return Way(way, must)


def widening(correlation: float | Floats) -> Floats:
    """How much wider the mean of an AR(1) series is spread than that of independent units."""
    bounded = np.clip(correlation, 0.0, 0.95)
    return np.asarray(np.sqrt((1 + bounded) / (1 - bounded)))


def widened(days: Floats) -> tuple[Shown, Shown]:
    """Single days, with bounds as wide as the estimated autocorrelation, without its bias, asks for."""
    mean, deviation, lagged = (one[:, LEAST_BLOCKS - 1 :] for one in moments(days))
    units = np.arange(LEAST_BLOCKS, days.shape[1] + 1)
    radius = radii(ALPHA, days.shape[1])[LEAST_BLOCKS:]
    bound = widening(lagged + (1 + 3 * lagged) / units) * radius * deviation
    none = np.zeros((len(days), LEAST_BLOCKS - 1), dtype=np.bool_)
    return np.concatenate([none, mean > bound], axis=1), np.concatenate([none, mean < -bound], axis=1)


def worst_of(
    correlations: Sequence[float], least: float = np.log(1 / ALPHA), *, and_bounds: bool = False
) -> Way:
    """The e-value of "the mean is 0 and days are AR(1)", whichever of these autocorrelations fits best.

    `least` is the ln that shows a mean; `and_bounds`: the bounds of single days must show it too.

    For each of them the scale is integrated out, as in the t-mixture; the alternative is that of independent days.
    """

    def way(days: Floats) -> tuple[Shown, Shown]:
        null = np.max([_log_density(days, one, 0.0) for one in correlations], axis=0)
        rejected = _log_density(days, 0.0, mixture_scale(PLANNED, ALPHA)) - null >= least
        rejected[:, : LEAST_BLOCKS - 1] = False
        if and_bounds:
            rejected &= np.logical_or(*merging(_never).shows(days))
        total = days.cumsum(axis=1)
        return rejected & (total > 0), rejected & (total < 0)

    return Way(way)


def _log_density(days: Floats, correlation: float, scale: float) -> Floats:
    """ln density up to each day, less what all share; the mean is 0, or normal with `scale` times the variance."""
    kept, units = 1 - correlation**2, np.arange(1, days.shape[1] + 1)
    steps = days[:, 1:] - correlation * days[:, :-1]
    first = days[:, :1]
    squares = np.concatenate([first**2, first**2 + (steps**2).cumsum(axis=1) / kept], axis=1)
    sums = np.concatenate([first, first + steps.cumsum(axis=1) * (1 - correlation) / kept], axis=1)
    information = 1 + (units - 1) * (1 - correlation) ** 2 / kept
    spread = 1 + scale * information
    left = squares - scale * sums**2 / spread
    return np.asarray(-0.5 * (units - 1) * np.log(kept) - 0.5 * np.log(spread) - units / 2 * np.log(left))


def moments(values: Floats) -> Moments:
    """Of all values up to each."""
    units = np.arange(1, values.shape[1] + 1)
    mean = values.cumsum(axis=1) / units
    squares = np.maximum((values**2).cumsum(axis=1) - units * mean**2, 0)
    products = np.concatenate(
        [np.zeros((len(values), 1)), (values[:, 1:] * values[:, :-1]).cumsum(axis=1)], axis=1
    )
    lagged = products - mean * (2 * units * mean - values[:, :1] - values) + (units - 1) * mean**2
    return (
        mean,
        np.asarray(np.sqrt(squares / np.maximum(units - 1, 1))),
        np.asarray(np.divide(lagged, squares, out=np.zeros_like(mean), where=squares > 0)),
    )


def _joined(days: Floats, size: int) -> Floats:
    full = days.shape[1] // size
    return np.asarray(days[:, : full * size].reshape(len(days), full, size).mean(axis=2))


FOUND = ((8.0, 7), (2.0, 9), (1.4, 10), (1.1, 14), (0.8, 21), (0.7, 28), (0.55, 40), (0.45, 60))
"""Gains in standard deviations of a day, each with a day by which bounds of single days alone find about seven in ten.
"""
FOUND_TOGETHER = ((2.0, 9), (0.8, 21), (0.55, 40))
"""The same where neighbouring days are correlated."""
LONG = 60


def found_in_time(runs: int, advance: Advance = lambda _: None) -> Table:
    """Wrong verdicts by the sixtieth day, and gains that are found by a day, by the ways that are worth it."""
    worlds = [effects(one, 5 * runs, SEED + 100 + place, LONG) for place, one in enumerate(CORRELATIONS)]
    rows = []
    for name in LONGER:
        way = WAYS[name]
        cells = [name]
        cells += [percent(float(np.mean(np.logical_or(*way.shows(world)).any(axis=1)))) for world in worlds]
        for world, gains in zip(worlds, (FOUND, FOUND_TOGETHER), strict=False):
            for gain, until in gains:
                found = way.shows(world[: 2 * runs, :until] + gain)[0].any(axis=1)
                cells.append(f"{100 * float(found.mean()):.0f} %")
        rows.append(tuple(cells))
        advance(runs)
    return Table(
        "",
        (
            "what is done",
            *(f"wrong at {one:g}" for one in CORRELATIONS),
            *(f"{gain:g} sd by day {until}" for gain, until in FOUND),
            *(f"at {CORRELATIONS[1]:g}: {gain:g} sd by day {until}" for gain, until in FOUND_TOGETHER),
        ),
        tuple(rows),
        f"Wrong: equal models are called different within {LONG} days; {5 * runs:,} rollouts, looked at after every "
        f"day from the seventh on, two-sided at {ALPHA:g}, effects of days AR(1) with this autocorrelation, seeds "
        f"{SEED + 100} and following. Then the share of {2 * runs:,} of them that find a gain of so many standard "
        "deviations of a day by a day, where days are independent, and where their autocorrelation is "
        f"{CORRELATIONS[1]:g}.",
    )


def _median(shown: Shown) -> str:
    at = np.where(shown.any(axis=1), shown.argmax(axis=1) + 1, DAYS + 1)
    median = int(np.quantile(at, 0.5, method="inverted_cdf"))
    return str(median) if median <= DAYS else "-"


def _always(lagged: Floats, _units: int) -> Shown:
    return np.ones(lagged.shape, dtype=np.bool_)


def _never(lagged: Floats, _units: int) -> Shown:
    return np.zeros(lagged.shape, dtype=np.bool_)


def _plain(lagged: Floats, _units: int) -> Shown:
    return lagged > MAX_AUTOCORRELATION


def _unbiased(lagged: Floats, units: int) -> Shown:
    return _without_bias(lagged, units) > MAX_AUTOCORRELATION


def _without_bias(lagged: Floats, units: int) -> Floats:
    return np.asarray(lagged + (1 + 3 * lagged) / units)


def _strong(lagged: Floats, _days: int) -> Shown:
    return lagged > STRONG_AUTOCORRELATION


def _weak(most: float) -> Fits:
    """No verdict while single days have a larger autocorrelation."""
    return lambda lagged, days, _size: _without_bias(lagged, days) <= most


def _long_enough(errors: float) -> Fits:
    """AR(1) days with the autocorrelation of single days, and so many standard errors, merge to one of at most 0.1."""

    def fits(lagged: Floats, days: int, size: int) -> Shown:
        spread = np.sqrt(np.maximum(1 - lagged**2, 0) / days)
        likely = np.clip(_without_bias(lagged, days) + errors * spread, 0, 0.98)
        return np.asarray(merged_correlation(likely, size) <= MAX_AUTOCORRELATION)

    return fits


def merged_correlation(correlation: Floats, size: int) -> Floats:
    """Lag-1 autocorrelation of the means of `size` neighbours of an AR(1) series."""
    power = correlation**size
    together = correlation * (1 - power) ** 2
    alone = size * (1 - correlation**2) - 2 * correlation * (1 - power)
    return np.asarray(together / alone)


def _beyond_chance(errors: float) -> Must:
    """More than chance gives, at so many standard errors."""
    return lambda lagged, units: (lagged > MAX_AUTOCORRELATION) & (lagged > errors / np.sqrt(units))


WAYS: dict[str, Way] = {
    "never merged": merging(_never),
    "merged while r > 0.1 and r > 2/sqrt(m), which chance rarely gives": merging(_beyond_chance(2)),
    "merged while r > 0.1 and r > 1/sqrt(m)": merging(_beyond_chance(1)),
    "merged while r > 0.1": merging(_plain),
    "the same, alpha / 5 while r of single days > 0.2": merging(_plain, strict=_strong),
    "**merged while r > 0.1, and no spell**: 10 times as likely": without_spells(_plain, LIKELIHOOD),
    "the same, 6 times as likely": without_spells(_plain, 0.3),
    "never merged, and no spell: 10 times as likely": without_spells(_never, LIKELIHOOD),
    "merged while r > 0.1, at least 10 units": merging(_plain, least=10),
    "merged while r without its bias, r + (1 + 3r)/m, > 0.1": merging(_unbiased),
    "the same, alpha / 5 while that of single days > 0.2": merging(
        _unbiased, strict=lambda lagged, days: _strong(_without_bias(lagged, days), days)
    ),
    "merged while r without its bias > 0.1, at alpha 0.01": merging(_unbiased, alpha=0.01),
    "the same, and none while r of single days > 0.3": merging(_unbiased, fits=_weak(0.3)),
    "the same, and as long as r of single days asks of AR(1) days": merging(_unbiased, fits=_long_enough(0)),
    "the same, by r and half its standard error": merging(_unbiased, fits=_long_enough(0.5)),
    "the same, by r and its standard error": merging(_unbiased, fits=_long_enough(1)),
    "merged while r > 0.1, bounds wide enough for 0.1": merging(_plain, allowance=MAX_AUTOCORRELATION),
    "merged while r without its bias > 0.1, bounds wide enough for 0.1": merging(
        _unbiased, allowance=MAX_AUTOCORRELATION
    ),
    "single days, bounds as wide as r without its bias asks for": Way(widened),
    "e-value against AR(1) days of any autocorrelation up to 0.2": worst_of(np.linspace(0, 0.2, 5).tolist()),
    "e-value against AR(1) days of any autocorrelation up to 0.5": worst_of(np.linspace(0, 0.5, 11).tolist()),
    "bounds of single days, and an e-value of 4.5 against AR(1) days of any autocorrelation up to 0.6": worst_of(
        np.linspace(0, 0.6, 7).tolist(), 1.5, and_bounds=True
    ),
}
"""Name -> way; today's is in bold."""
LONGER = (
    "never merged",
    "merged while r > 0.1",
    "the same, alpha / 5 while r of single days > 0.2",
    "the same, alpha / 5 while that of single days > 0.2",
    "**merged while r > 0.1, and no spell**: 10 times as likely",
    "the same, 6 times as likely",
    "never merged, and no spell: 10 times as likely",
    "bounds of single days, and an e-value of 4.5 against AR(1) days of any autocorrelation up to 0.6",
)
"""Ways of which is told what they find in time."""
