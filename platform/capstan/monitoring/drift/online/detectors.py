"""Online detectors of drift: how unlike the reference the last values of a stream are, after each value.

These two follow alibi-detect's CVMDriftOnline and FETDriftOnline (Ross et al. 2011, 2012), number for number, without
importing it: a training calibrates by them, and a monitor decides by them where alibi-detect's licence does not suit.
Their thresholds suppose independent rows, and rows of one day are alike. So none of theirs is used: a calibration asks
for the numbers alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
OnlineKind = Literal["CramerVonMises", "FisherExact"]

LEAST_P = 1e-7
"""Of the numbers between 0 and 1 that alibi-detect tells, in float32, the one next to 1 is so far from it."""
DIGITS = 5
"""Of a score: those that follow depend on the library that computed it."""


class OnlineDetector(Protocol):
    """One column of a version, beside its reference."""

    def scores(self, values: Floats) -> Floats:
        """(values, sizes): how unlike the reference the last `size` values are, after each of them.

        nan where fewer have come. Values before the last `size` make no difference.
        """
        ...


class OwnCramerVonMises:
    """For numbers: the two-sample statistic of Cramér and von Mises, in standard deviations from its mean."""

    def __init__(self, reference: Sequence[float], sizes: Sequence[int]) -> None:
        self._reference = np.sort(np.asarray(reference, dtype=np.float64))
        self._sizes = tuple(sizes)
        self._at_reference = _shares_until(self._reference, self._reference)

    def scores(self, values: Floats) -> Floats:
        found = np.full((len(values), len(self._sizes)), np.nan)
        below = (values[:, None] <= self._reference).astype(np.int32)
        total = np.vstack([np.zeros_like(below[:1]), np.cumsum(below, axis=0, dtype=np.int32)])
        for place, size in enumerate(self._sizes):
            if len(values) < size:
                continue
            apart = (total[size:] - total[:-size]) / size - self._at_reference
            squares: Floats = np.einsum("ij,ij->i", apart, apart)
            ordered = np.sort(np.lib.stride_tricks.sliding_window_view(values, size), axis=1)
            beside = _shares_until(self._reference, ordered) - _own_shares(ordered)
            squares += np.einsum("ij,ij->i", beside, beside)
            found[size - 1 :, place] = _in_deviations(squares, len(self._reference), size)
        return rounded(found)


class OwnFisherExact:
    """For yes and no: minus the decimal logarithm of Fisher's exact p-value, of more yes or of fewer."""

    def __init__(self, lots: int, yes: int, sizes: Sequence[int]) -> None:
        from scipy.stats import hypergeom

        self._sizes = tuple(sizes)
        self._tables = []
        for size in self._sizes:
            counts = np.arange(size + 1)
            # As alibi-detect asks: of fewer yes in the reference, and of fewer in the last values.
            more = hypergeom.cdf(yes, lots + size, yes + counts, lots)
            fewer = hypergeom.cdf(counts, lots + size, yes + counts, size)
            self._tables.append(np.maximum(strength(1 - more), strength(1 - fewer)))

    def scores(self, values: Floats) -> Floats:
        found = np.full((len(values), len(self._sizes)), np.nan)
        total = np.append(0, np.cumsum(values)).round().astype(np.int64)
        for place, (size, table) in enumerate(zip(self._sizes, self._tables, strict=True)):
            if len(values) >= size:
                found[size - 1 :, place] = table[total[size:] - total[:-size]]
        return rounded(found)


def strength(told: Any) -> Floats:
    """Of what alibi-detect tells, one minus a p-value."""
    chance: Any = 1 - np.asarray(told, dtype=np.float32).astype(np.float64)
    found: Floats = -np.log10(np.clip(chance, LEAST_P, 1.0))
    return found


def rounded(scores: Floats) -> Floats:
    """To `DIGITS` decimals."""
    exact: Any = np.asarray(scores, dtype=np.float32).astype(np.float64)
    found: Floats = np.round(exact, DIGITS)
    return found


def of_usual(scores: Floats, usual: Sequence[float]) -> Floats:
    """Of the last axis, the sizes, the largest in units of what is usual for each; nan where there is none."""
    largest = np.where(np.isnan(scores), -np.inf, scores / np.asarray(usual)).max(axis=-1)
    found: Floats = np.where(np.isfinite(largest), largest.round(DIGITS), np.nan)
    return found


def _shares_until(reference: Floats, values: Floats) -> Floats:
    found: Floats = np.searchsorted(reference, values, side="right") / len(reference)
    return found


def _own_shares(ordered: Floats) -> Floats:
    """Of each value of a sorted line, the share of the line that is not above it."""
    size = ordered.shape[1]
    ranks = np.broadcast_to(np.arange(1, size + 1), ordered.shape)
    is_last = np.append(ordered[:, 1:] != ordered[:, :-1], np.ones((len(ordered), 1), dtype=np.bool_), axis=1)
    last = np.where(is_last, ranks, size)
    found: Floats = np.minimum.accumulate(last[:, ::-1], axis=1)[:, ::-1] / size
    return found


def _in_deviations(squares: Floats, reference: int, size: int) -> Floats:
    """Anderson, On the distribution of the two-sample Cramér-von Mises criterion (1962), equations 3 and 14."""
    both = reference + size
    mean = 1 / 6 + 1 / (6 * both)
    variance = (both + 1) * (
        4 * reference * size * both - 3 * (reference**2 + size**2) - 2 * reference * size
    )
    deviation = math.sqrt(variance / (45 * both**2 * 4 * reference * size))
    return (squares * reference * size / both**2 - mean) / deviation
