"""Which values of a feature have another share of the rows than in what a window is compared with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from capstan.monitoring.causes.kinds import kinds_of_numbers
from capstan.monitoring.drift.reference import FeatureReference
from capstan.monitoring.windows import Move
from capstan.tasks.metric import Floats

MOST_MOVES = 3
LEAST_MOVE = 0.01
"""Change of a share that is told at all."""


def moves_of(reference: FeatureReference, window: NDArray[Any]) -> tuple[Move, ...]:
    """The values, or ranges of numbers, whose share changed most; `window` holds numbers or codes, none missing."""
    if not len(reference.sample) or not len(window):
        return ()
    if reference.kind == "categorical":
        return _of_categories(reference, window.astype(np.int64))
    return _of_numbers(reference, window.astype(np.float64))


def _of_categories(reference: FeatureReference, window: NDArray[np.int64]) -> tuple[Move, ...]:
    size = len(reference.vocabulary) + 1
    before, now = (
        np.bincount(np.minimum(codes, size - 1), minlength=size) / len(codes)
        for codes in (reference.sample.astype(np.int64), window)
    )
    names = [f"{reference.name}={name}" for name in (*reference.vocabulary, "a new value")]
    most = np.argsort(-np.abs(now - before), kind="stable")[:MOST_MOVES]
    return _told((names[code], before[code], now[code]) for code in most)


def _of_numbers(reference: FeatureReference, window: Floats) -> tuple[Move, ...]:
    """The range of neighbours that gained most, and the one that lost most."""
    sample = reference.sample.astype(np.float64)
    kinds = kinds_of_numbers(reference.name, reference.column, reference.type, sample)
    size = kinds.missing
    before, now = (
        np.bincount(kinds.of_numbers(values), minlength=size)[:size] / len(values)
        for values in (sample, window)
    )
    found = []
    for change in (now - before, before - now):
        first, last = _largest(change)
        inside = slice(first, last + 1)
        found.append((kinds.name(first, last), before[inside].sum(), now[inside].sum()))
    return _told(found)


def _largest(change: Floats) -> tuple[int, int]:
    """First and last place of the neighbours whose sum is largest (Kadane); the shortest such stretch."""
    best, begin, total = (-np.inf, 0, 0), 0, 0.0
    for place, value in enumerate(change):
        if total <= 0:
            begin, total = place, 0.0
        total += float(value)
        if total > best[0] + 1e-12:
            best = (total, begin, place)
    return best[1], best[2]


def _told(found: Any) -> tuple[Move, ...]:
    return tuple(
        Move(what, round(float(before), 6), round(float(now), 6))
        for what, before, now in found
        if abs(now - before) >= LEAST_MOVE
    )
