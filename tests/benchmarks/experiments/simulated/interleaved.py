"""Interleaved lists against A/B: how many units each needs to say which ranker is better, of the same users."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from benchmarks.experiments.simulated.looks import always_valid_decides, arms, welch_decides
from benchmarks.experiments.simulated.mismatch import alarm_counts
from benchmarks.experiments.simulated.table import Table, percent
from scipy.special import bdtr

from capstan.domain.verdicts.interleaving import (
    Method,
    balanced_credit,
    interleave,
    team_draft_credit,
)
from capstan.domain.verdicts.preference import PreferenceRule

Floats = npt.NDArray[np.float64]
Advance = Callable[[int], None]

SEED = 601
POOL = 60_000
"""Requests of which runs are drawn, with replacement."""
ITEMS = 8
INTERLEAVED_UNITS, AB_UNITS, AB_EVERY = 5000, 40_000, 50
_CHUNK = 20


@dataclass(frozen=True)
class Rankers:
    """How far each ranker's scores are from the relevance of an item, in its standard deviations."""

    name: str
    champion: float
    challenger: float


RANKERS = (
    Rankers("equally good", 1.0, 1.0),
    Rankers("challenger a little better", 1.0, 0.75),
    Rankers("challenger better", 1.0, 0.5),
)


@dataclass(frozen=True)
class Pool:
    """One number for each request: 1, 0 or -1 interleaved, clicks of a list otherwise."""

    preferences: dict[Method, npt.NDArray[np.int64]]
    champion: Floats
    challenger: Floats


def interleaved(runs: int, advance: Advance = lambda _: None) -> Table:
    """Both methods and A/B for every pair of rankers."""
    rows = []
    for place, rankers in enumerate(RANKERS):
        rng = np.random.default_rng(SEED + place)
        pool = clicked(rankers, rng)
        found = [preferring(pool.preferences[method], runs, rng) for method in Method]
        ab, naive_ab = comparing(pool, runs, rng, advance)
        best = min(_median(one[0]) for one in found)
        ratio = _median(ab) / best if math.isfinite(best) and math.isfinite(_median(ab)) else math.nan
        row = [rankers.name]
        for sequential, naive in found:
            row += [_decided(sequential), _decided(naive)]
        row += [_decided(ab), _decided(naive_ab), f"{ratio:.0f}" if math.isfinite(ratio) else "-"]
        rows.append(tuple(row))
    return Table(
        "Interleaving against A/B",
        (
            "rankers",
            "TeamDraft",
            "its naive test",
            "Balanced",
            "its naive test",
            "A/B, AlwaysValid",
            "A/B, naive",
            "Balanced: times fewer units",
        ),
        tuple(rows),
        f"Share of {runs:,} runs that decided, and the median of units until then; seeds {SEED} and following. Of "
        f"equal rankers a decision is a false one. Users see {ITEMS} items and click with a chance that falls with the "
        f"place and rises with an item's relevance; rankers know relevance with noise. Runs draw from {POOL:,} "
        "simulated requests. "
        f"Interleaving is looked at after every unit until {INTERLEAVED_UNITS:,}, A/B compares clicks of a list after "
        f"every {AB_EVERY} until {AB_UNITS:,}. Naive is the sign test, and Welch's, looked at again and again.",
    )


def clicked(rankers: Rankers, rng: np.random.Generator, size: int = POOL) -> Pool:
    """Lists and clicks of `size` requests, by the product's own drafts and credits."""
    relevance = rng.standard_normal((size, ITEMS))
    orders = [
        np.argsort(-(relevance + noise * rng.standard_normal((size, ITEMS))), axis=1)
        for noise in (rankers.champion, rankers.challenger)
    ]
    attraction = 1 / (1 + np.exp(1.5 - 1.5 * relevance))
    seen = 1 / np.log2(np.arange(ITEMS) + 2)
    clicks = [
        (rng.random((size, ITEMS)) < np.take_along_axis(attraction, order, axis=1) * seen)
        .sum(axis=1)
        .astype(np.float64)
        for order in orders
    ]
    preferences = {method: np.zeros(size, dtype=np.int64) for method in Method}
    coins, draws = rng.random((size, ITEMS)) < 0.5, rng.random((size, ITEMS))
    for request in range(size):
        champion, challenger = (order[request].tolist() for order in orders)
        for method in Method:
            flips = iter(coins[request].tolist())
            shown = interleave(method, champion, challenger, lambda flips=flips: next(flips))
            hit = [
                place
                for place, item in enumerate(shown.items)
                if draws[request, place] < attraction[request, item] * seen[place]
            ]
            if method is Method.TEAM_DRAFT:
                credit = team_draft_credit(shown.rankers[place] for place in hit)
            else:
                credit = balanced_credit(
                    (
                        place + 1,
                        champion.index(shown.items[place]) + 1,
                        challenger.index(shown.items[place]) + 1,
                    )
                    for place in hit
                )
            preferences[method][request] = credit.outcome
    if rankers.champion == rankers.challenger:
        # What chance made of the pool would be a true difference to runs that draw from it.
        preferences = {method: np.concatenate([one, -one]) for method, one in preferences.items()}
        clicks = [np.concatenate(clicks)] * 2
    return Pool(preferences, clicks[0], clicks[1])


def preferring(pool: npt.NDArray[np.int64], runs: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Units at the first decision (infinite: none), sequential and by a sign test that is looked at every time."""
    rule = PreferenceRule()
    low, high = alarm_counts(0.5, INTERLEAVED_UNITS, rule.strength, rule.alpha)
    signs = _sign_limits(INTERLEAVED_UNITS, rule.alpha)
    first, naive = [], []
    for begin in range(0, runs, _CHUNK):
        drawn = pool[rng.integers(0, len(pool), (min(_CHUNK, runs - begin), INTERLEAVED_UNITS))]
        wins, decided = (drawn > 0).cumsum(axis=1), (drawn != 0).cumsum(axis=1)
        place = np.maximum(decided - 1, 0)
        some = decided > 0
        found = some & ((wins <= low[place]) | (wins >= high[place]))
        peeked = some & (np.minimum(wins, decided - wins) <= signs[place])
        for where, into in ((found, first), (peeked, naive)):
            where[:, : rule.min_units - 1] = False
            into.append(np.where(where.any(axis=1), where.argmax(axis=1) + 1.0, np.inf))
    return np.concatenate(first), np.concatenate(naive)


def comparing(pool: Pool, runs: int, rng: np.random.Generator, advance: Advance) -> tuple[Floats, Floats]:
    """Units at the first decision of an A/B test of clicks, always valid and by Welch's test at every look."""
    looks = np.arange(500, AB_UNITS + 1, AB_EVERY)
    first, naive = [], []
    for begin in range(0, runs, _CHUNK):
        shape = (min(_CHUNK, runs - begin), AB_UNITS)
        treated = rng.random(shape) < 0.5
        drawn = rng.integers(0, len(pool.champion), shape)
        values = np.where(treated, pool.challenger[drawn], pool.champion[drawn])
        control, treatment = arms(values, treated, looks)
        for where, into in (
            (always_valid_decides(control, treatment, looks, alpha=0.05, planned_units=5000), first),
            (welch_decides(control, treatment, alpha=0.05), naive),
        ):
            into.append(np.where(where.any(axis=1), looks[where.argmax(axis=1)].astype(np.float64), np.inf))
        advance(shape[0])
    return np.concatenate(first), np.concatenate(naive)


def _sign_limits(units: int, alpha: float) -> Floats:
    """Of n units with a preference, the rarer kind at and below which the two-sided sign test rejects."""
    limits = np.full(units, -1.0)
    rarer = -1
    for count in range(1, units + 1):
        while 2 * bdtr(rarer + 1, count, 0.5) <= alpha:
            rarer += 1
        limits[count - 1] = rarer
    return limits


def _median(first: Floats) -> float:
    return float(np.sort(first)[len(first) // 2])


def _decided(first: Floats) -> str:
    middle = _median(first)
    share = percent(float(np.isfinite(first).mean()))
    return f"{share}, {middle:,.0f}" if math.isfinite(middle) else share
