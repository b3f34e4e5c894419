"""Arms of the wrong sizes: how often a right split is called wrong, and how soon a wrong one is seen."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from benchmarks.experiments.simulated.table import Table, percent
from scipy.special import chdtri, gammaln, ndtri

from capstan.domain.verdicts.sample_ratio import MISMATCH_ALPHA, PRIOR_STRENGTH

Floats = npt.NDArray[np.float64]
Advance = Callable[[int], None]

SEED = 401
UNITS = 40_000
LEAST = 100
"""Units before the first look of both tests; the chi-squared test needs some."""
_CHUNK = 25


@dataclass(frozen=True)
class Split:
    """Percent of units that the first arm is to get, and does get."""

    wanted: float
    real: float


SPLITS = (
    Split(50, 50),
    Split(90, 90),
    Split(50, 51),
    Split(50, 52),
    Split(50, 55),
    Split(90, 91),
    Split(90, 92),
)


def mismatch(runs: int, advance: Advance = lambda _: None) -> Table:
    """False alarms of right splits, alarms and delays of wrong ones."""
    rows = []
    for place, split in enumerate(SPLITS):
        sequential, naive, at_the_end = alarms(split, runs, seed=SEED + place, advance=advance)
        wrong = split.wanted != split.real
        rows.append(
            (
                f"{split.wanted:g} : {100 - split.wanted:g}",
                f"{split.real:g} : {100 - split.real:g}",
                _share(sequential),
                _median(sequential) if wrong else "-",
                _share(naive),
                _median(naive) if wrong else "-",
                f"{100 * at_the_end:.2f} %",
                f"{fixed_units(split):,}" if wrong else "-",
            )
        )
    return Table(
        "Arms of the wrong sizes",
        (
            "split wanted",
            "split that came",
            "sequential: alarms",
            "median units until then",
            "chi-squared, peeking: alarms",
            "median units until then",
            "chi-squared once, at the end",
            "units for it to see 80 %",
        ),
        tuple(rows),
        f"{runs:,} experiments of {UNITS:,} units, looked at after every unit from {LEAST} on, at {MISMATCH_ALPHA:g}; "
        f"seeds {SEED} and following. Sequential is the product's Dirichlet test (strength {PRIOR_STRENGTH:,.0f}). "
        "Alarms of a right split are false. A median counts all runs; - means that fewer than half have an alarm.",
    )


def alarms(
    split: Split, runs: int, *, seed: int, advance: Advance = lambda _: None
) -> tuple[Floats, Floats, float]:
    """Units at the first alarm of each run (infinite: none), sequential and peeking; share of alarms at the end."""
    rng = np.random.default_rng(seed)
    share = split.wanted / 100
    limits = alarm_counts(share, UNITS)
    seen = np.arange(1, UNITS + 1)
    away = np.sqrt(float(chdtri(1, MISMATCH_ALPHA)) * seen * share * (1 - share))
    naive_limits = seen * share - away, seen * share + away
    first: list[Floats] = []
    naive: list[Floats] = []
    last = 0
    for begin in range(0, runs, _CHUNK):
        shape = (min(_CHUNK, runs - begin), UNITS)
        counts = np.cumsum(rng.random(shape, dtype=np.float32) < split.real / 100, axis=1)
        first.append(_first((counts <= limits[0]) | (counts >= limits[1])))
        found = (counts <= naive_limits[0]) | (counts >= naive_limits[1])
        last += int(found[:, -1].sum())
        naive.append(_first(found))
        advance(shape[0])
    return np.concatenate(first), np.concatenate(naive), last / runs


@cache
def alarm_counts(
    share: float, units: int, strength: float = PRIOR_STRENGTH, alpha: float = MISMATCH_ALPHA
) -> tuple[Floats, Floats]:
    """Units of the first arm, after each unit, at and beyond which `log_mismatch` is an alarm: too few, too many."""
    seen = np.arange(1, units + 1, dtype=np.float64)
    limits = []
    for extreme in (np.zeros(units) - 1, seen + 1):
        calm, loud = np.round(seen * share), extreme
        # The statistic rises on both sides of the wanted count, so halving finds where it passes the bound.
        while (np.abs(loud - calm) > 1).any():
            middle = np.trunc((calm + loud) / 2)
            alarmed = _log_mismatches(middle, seen, share, strength) >= -math.log(alpha)
            near = np.abs(loud - calm) <= 1
            loud = np.where(alarmed & ~near, middle, loud)
            calm = np.where(~alarmed & ~near, middle, calm)
        limits.append(loud)
    return limits[0], limits[1]


def _log_mismatches(counts: Floats, seen: Floats, share: float, strength: float) -> Floats:
    found = gammaln(strength) - gammaln(strength + seen)
    for own, units in ((share, counts), (1 - share, seen - counts)):
        prior = strength * own
        found = found + gammaln(prior + units) - gammaln(prior) - units * math.log(own)
    return np.asarray(found)


def fixed_units(split: Split, power: float = 0.8) -> int:
    """Units that the chi-squared test at one look needs to see the split with this power."""
    wanted, real = split.wanted / 100, split.real / 100
    z = float(ndtri(1 - MISMATCH_ALPHA / 2)) * math.sqrt(wanted * (1 - wanted))
    z += float(ndtri(power)) * math.sqrt(real * (1 - real))
    return math.ceil((z / (real - wanted)) ** 2)


def _first(found: npt.NDArray[np.bool_]) -> Floats:
    found[:, : LEAST - 1] = False
    return np.where(found.any(axis=1), found.argmax(axis=1) + 1.0, np.inf)


def _share(first: Floats) -> str:
    share = float(np.isfinite(first).mean())
    return f"{100 * share:.2f} %" if share < 0.1 else percent(share)


def _median(first: Floats) -> str:
    middle = float(np.sort(first)[len(first) // 2])
    return f"{middle:,.0f}" if math.isfinite(middle) else "-"
