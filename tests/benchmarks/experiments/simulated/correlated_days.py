"""Effects that differ from day to day and hang together: what is independent is the merged day, not the unit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
from benchmarks.experiments.simulated.looks import Arm, always_valid_decides, radii, welch_decides
from benchmarks.experiments.simulated.table import Table, percent
from scipy.special import stdtrit

from capstan.domain.verdicts.arms import ArmsRule
from capstan.domain.verdicts.evidence import LossBlock
from capstan.domain.verdicts.experiments import ExperimentRule, always_valid_of_blocks
from capstan.domain.verdicts.merging import merge_as_needed
from capstan.domain.verdicts.quality import LEAST_BLOCKS
from capstan.domain.verdicts.spells import AUTOCORRELATIONS, LIKELIHOOD
from capstan.evaluation.experiments.over_time import MAX_AUTOCORRELATION

Floats = npt.NDArray[np.float64]
Advance = Callable[[int], None]

SEED = 201
DAYS, UNITS_PER_DAY, PAST_DAYS = 40, 500, 200
PAST_BLOCKS = 50
"""Fewest merged blocks of the past that show a length, as `independent_size` has it."""
PLANNED_BLOCKS = 14
SPREAD = 0.2
"""Standard deviation of a day's effect, in those of a unit's outcome."""
CORRELATIONS = (0.0, 0.3, 0.6, 0.8)
SIZES = (1, 2, 3, 4, 6, 8, 12, 24, 48, 72, 168)


def correlated_days(runs: int, advance: Advance = lambda _: None) -> Table:
    """False positives for an effect whose mean over days to come is 0."""
    rows = []
    for place, correlation in enumerate(CORRELATIONS):
        rates = alarm_rates(correlation, runs, seed=SEED + place, advance=advance)
        rows.append((f"{correlation:g}", *map(percent, rates)))
    return Table(
        "Days that go together",
        (
            "correlation of neighbouring days",
            "units, AlwaysValid",
            "units, naive",
            "days, naive",
            "days, AlwaysValid",
            f"merged as {PAST_DAYS} past days say",
            "(no length found)",
            "merged as its own days say",
            "(no length found)",
            "merged anew every day",
            "anew, never shorter",
            "and no spell",
        ),
        tuple(rows),
        f"{runs:,} experiments of {DAYS} days of {UNITS_PER_DAY} units, looked at after every day or merged day, alpha "
        f"0.05; seeds {SEED} and following. The effect is a new one every day, with a standard deviation of {SPREAD:g} "
        "and this correlation (AR(1)), and its mean is 0. Units are fooled by it, as what they show is the effect of "
        "these very days. Days are merged to the smallest length whose lag-1 autocorrelation is at most "
        f"{MAX_AUTOCORRELATION:g}: over at least {PAST_BLOCKS} blocks of the past, or at least {LEAST_BLOCKS} of the "
        "experiment itself. Where no length does it there is no verdict, so no false one either. Merged "
        "anew every day is a trap: days are few at first, and a look chooses the length that suits it. In the last "
        "two columns a length that was used once is never made shorter. In the last one the days must also be "
        f"{LIKELIHOOD / 0.05:g} times as likely if they are independent and differ as if they go together by "
        f"{' or '.join(f'{one:g}' for one in AUTOCORRELATIONS)} and do not, as in the verdicts of an experiment "
        "with `blocks: Day`.",
    )


def alarm_rates(
    correlation: float, runs: int, *, seed: int, advance: Advance = lambda _: None
) -> list[float]:
    """Shares of runs, in the order of the table's columns."""
    rng = np.random.default_rng(seed)
    control, treatment, differences = _days(rng, runs, DAYS, correlation)
    looks = UNITS_PER_DAY * np.arange(1, DAYS + 1)
    rule = ExperimentRule()
    by_unit = always_valid_decides(
        control, treatment, looks, alpha=rule.alpha, planned_units=rule.planned_units
    )
    found = [by_unit.any(axis=1), welch_decides(control, treatment, alpha=rule.alpha).any(axis=1)]
    found += [naive_days_decide(differences), np.array([blocks_decide(one, 1) for one in differences])]
    past = _days(rng, runs, PAST_DAYS, correlation)[2]
    for histories, least in ((past, PAST_BLOCKS), (differences, LEAST_BLOCKS)):
        sizes = [independent_length(one, least) for one in histories]
        decided = [
            size is not None and blocks_decide(one, size)
            for one, size in zip(differences, sizes, strict=True)
        ]
        found += [np.array(decided), np.array([size is None for size in sizes])]
    anew, growing, certain = [], [], []
    for one in differences:
        anew.append(_decides_anew(one))
        growing.append(_decides_as_needed(one))
        certain.append(_decides_as_needed(one, excludes_spells=True))
        advance(1)
    found += [np.array(anew), np.array(growing), np.array(certain)]
    return [float(one.mean()) for one in found]


def _days(rng: np.random.Generator, runs: int, days: int, correlation: float) -> tuple[Arm, Arm, Floats]:
    """Both arms until each day, and the days' own differences of means."""
    fresh = rng.standard_normal((runs, days))
    effects = fresh.copy()
    for day in range(1, days):
        effects[:, day] = correlation * effects[:, day - 1] + np.sqrt(1 - correlation**2) * fresh[:, day]
    half = UNITS_PER_DAY // 2
    arms, means = [], []
    for share in (-0.5, 0.5):
        mean = share * SPREAD * effects + rng.standard_normal((runs, days)) / np.sqrt(half)
        within = rng.chisquare(half - 1, (runs, days))
        units = half * np.arange(1, days + 1)[None, :] * np.ones((runs, 1))
        total = np.cumsum(half * mean, axis=1)
        squares = np.cumsum(within + half * mean**2, axis=1)
        variance = (squares - total**2 / units) / (units - 1)
        arms.append(Arm(units, total / units, variance, np.zeros_like(units)))
        means.append(mean)
    return arms[0], arms[1], means[1] - means[0]


def independent_length(differences: Floats, least: int) -> int | None:
    """As `independent_size` of blocks of equal size."""
    for size in SIZES:
        blocks = merged(differences, size)
        if len(blocks) < least:
            return None
        centred = blocks - blocks.mean()
        squares = float(centred @ centred)
        if squares == 0 or float(centred[1:] @ centred[:-1]) / squares <= MAX_AUTOCORRELATION:
            return size
    return None


def merged(differences: Floats, size: int) -> Floats:
    """Means of neighbouring days; a last group that is not full is left out."""
    count = len(differences) // size
    return np.asarray(differences[: count * size].reshape(count, size).mean(axis=1))


def blocks_decide(differences: Floats, size: int) -> bool:
    """Whether `always_valid_of_blocks` excludes 0 at the end of any merged block from the seventh on."""
    blocks = merged(differences, size)
    if len(blocks) < LEAST_BLOCKS:
        return False
    seen = np.arange(1, len(blocks) + 1)
    mean = blocks.cumsum() / seen
    deviation = np.sqrt(np.maximum((blocks**2).cumsum() - seen * mean**2, 0) / np.maximum(seen - 1, 1))
    radius = radii(tuple(seen.tolist()), PLANNED_BLOCKS, 0.05)[LEAST_BLOCKS - 1 :]
    sure = slice(LEAST_BLOCKS - 1, None)
    return bool((np.abs(mean[sure]) > radius * deviation[sure]).any())


def naive_days_decide(differences: Floats) -> npt.NDArray[np.bool_]:
    """Whether the t-test of the days' differences is below 0.05 at the end of any day from the seventh on."""
    seen = np.arange(1, differences.shape[1] + 1)
    mean = differences.cumsum(axis=1) / seen
    squares = (differences**2).cumsum(axis=1) - seen * mean**2
    deviation = np.sqrt(np.maximum(squares, 0) / np.maximum(seen - 1, 1))
    bound = stdtrit(np.maximum(seen - 1, 1), 0.975) / np.sqrt(seen)
    return np.asarray((np.abs(mean) > bound * deviation)[:, LEAST_BLOCKS - 1 :].any(axis=1))


def _decides_anew(differences: Floats) -> bool:
    for day in range(LEAST_BLOCKS, len(differences) + 1):
        size = independent_length(differences[:day], LEAST_BLOCKS)
        if size is not None and blocks_decide(differences[:day], size):
            return True
    return False


def _decides_as_needed(differences: Floats, *, excludes_spells: bool = False) -> bool:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    blocks = (
        LossBlock(start + timedelta(days=day), UNITS_PER_DAY, UNITS_PER_DAY * float(one), 1.0)
        for day, one in enumerate(differences)
    )
    rule = ArmsRule("effect", alpha=0.05, by_days=True)
    for days in merge_as_needed(blocks, least=LEAST_BLOCKS):
        if days.closed < LEAST_BLOCKS or not days.is_independent:
            continue
        alone = always_valid_of_blocks(days.sums, alpha=rule.alpha, planned_blocks=PLANNED_BLOCKS)
        lower, upper = rule.bounds_by_days(days) if excludes_spells else (alone.lower, alone.upper)
        if lower > 0 or upper < 0:
            return True
    return False
