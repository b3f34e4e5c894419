"""How strict a detector of concept drift must be, found on days of the test window drawn again and again.

A stream is a test window and the months after it, both of days drawn with replacement from the test window, so that
nothing changed in it: each alarm is false. Rows of one day stay together, because they are alike. That the test window
itself was lucky or unlucky is counted too, since it is drawn as well. What no drawing shows is that months differ by
more than days of one test window do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from capstan.monitoring.concept.detectors import FACTS, ConceptKind
from capstan.monitoring.concept.losses import LOTS, means_of_lots
from capstan.monitoring.concept.watched_losses import LossReference, Stream
from capstan.monitoring.drift.calibration import MONTH
from capstan.tasks.metric import Floats

LEAST_DAYS = 7
"""Fewer days say too little about how days differ."""
STREAMS = 100
MONTHS = 3
"""Of a stream after its test: a version serves for longer than a month, and evidence adds up."""


def fit_losses(
    detector: ConceptKind,
    metric: str,
    losses: Floats,
    days: NDArray[np.int64] | None,
    *,
    window: timedelta,
    alarms_per_month: float,
    rng: np.random.Generator,
) -> LossReference:
    """`losses` (n,) of the test window in order of time, with the (n,) day of each; None: rows have no time.

    The level is the hastiest that keeps to `alarms_per_month`. Where there is none, the reference says why.
    """
    if days is None:
        size = max(1, math.ceil(len(losses) / LOTS))
        # Days can't be drawn, and how many rows a window will have is not known: both make the number of false alarms.
        timeless = (
            "rows of the test window have no time (data.keys.time), so that none of its days can be drawn"
        )
        return LossReference(detector, metric, size, means_of_lots(losses, size), None, why_not=timeless)
    found, starts = np.unique(days, return_index=True)
    parts = np.split(losses, starts[1:])
    size = max(1, math.ceil(len(losses) / len(found) * (window / timedelta(days=1)) / LOTS))
    reference = LossReference(detector, metric, size, means_of_lots(losses, size), None)
    if len(found) < LEAST_DAYS:
        few = f"the test window has {len(found)} days, {LEAST_DAYS} are needed; make data.split.test longer"
        return replace(reference, why_not=few)
    if float(np.std(reference.values)) == 0.0:
        return replace(reference, why_not=f"{metric} has the same loss in all of the test window")
    streams = [_drawn(parts, size, rng) for _ in range(STREAMS)]
    levels = FACTS[detector].levels
    alarms: dict[int, float] = {}
    low, high = 0, len(levels)
    while low < high:
        middle = (low + high) // 2
        fired = sum(_fires(detector, levels[middle], known, after) for known, after in streams)
        alarms[middle] = fired / (STREAMS * MONTHS)
        low, high = (low, middle) if alarms[middle] <= alarms_per_month else (middle + 1, high)
    if low == len(levels):
        loud = f"{detector} alarms more often than {alarms_per_month:g} times a month without a change, however strict"
        return replace(reference, why_not=loud)
    return replace(reference, level=levels[low], alarms=float(f"{alarms[low]:.6g}"))


def _drawn(
    parts: Sequence[Floats], size: int, rng: np.random.Generator
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """A test window and the months after it."""
    months = round(MONTHS * MONTH / timedelta(days=1))
    known, after = (
        np.concatenate([parts[day] for day in rng.integers(0, len(parts), count)])
        for count in (len(parts), months)
    )
    return means_of_lots(known, size), means_of_lots(after, size)


def _fires(kind: ConceptKind, level: float, known: Sequence[float], after: Sequence[float]) -> bool:
    stream = Stream(kind, level, known)
    return any(stream.is_worse_after(value) for value in after)
