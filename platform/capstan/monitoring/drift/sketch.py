"""KS distance of a large window from a reference in memory that does not grow with the window, with its error stated.

Values fall into uniform cells by one multiplication (no search), and cells are counted; the distance is exact at the
borders of cells. The core is the reference between its 0.05 % and 99.95 % quantiles; the few values outside are
searched for among the reference's own tail values. Integers get one cell each, where the core is not too wide.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

CELLS = 4096
TAIL = 0.0005
TAIL_POINTS = 64
WIDEST_INTEGERS = 65_536


class SketchedDistance(NamedTuple):
    """KS and a bound: the true distance is in [effect, effect + error]."""

    effect: float
    error: float


class Sketch:
    """Counts a window beside a reference sample; `add` as often as there are batches."""

    def __init__(self, reference: NDArray[np.float64]) -> None:
        """`reference`: at least one value, all finite."""
        low, high = np.quantile(reference, [TAIL, 1 - TAIL], method="nearest")
        self._is_integer = bool((reference == np.rint(reference)).all()) and high - low < WIDEST_INTEGERS
        if self._is_integer:
            self._cells = int(high - low) + 1
            self._scale = 1.0
        else:
            self._cells = CELLS
            self._scale = CELLS / (high - low) if high > low else 1.0
        self._low, self._high = float(low), float(high)
        ordered = np.sort(reference)
        self._below = _thin(ordered[ordered < low])
        self._above = _thin(ordered[ordered > high])
        self._size = len(self._below) + 1 + self._cells + len(self._above) + 1
        self._reference = np.zeros(self._size, dtype=np.int64)
        self._count_into(self._reference, reference)
        self._window = np.zeros(self._size, dtype=np.int64)
        self._between = 0
        self.missing = 0

    def add(self, values: NDArray[np.floating[Any]]) -> None:
        """Count a batch; what is not finite is counted as missing."""
        # One pass tells whether there is anything to drop: a sum with a NaN or infinity in it is not finite.
        if not np.isfinite(values.sum(dtype=np.float64)):
            finite = np.isfinite(values)
            self.missing += int(len(values) - finite.sum())
            values = values[finite]
        if self._is_integer:
            self._between += int((values != np.rint(values)).sum())
        self._count_into(self._window, values)

    @property
    def rows(self) -> int:
        """Values counted, without missing ones."""
        return int(self._window.sum())

    def distance(self) -> SketchedDistance:
        """The distance of everything added so far; at least one value."""
        reference = self._reference / self._reference.sum()
        window = self._window / self._window.sum()
        after = np.cumsum(window - reference)
        found = float(np.abs(after).max())
        if self._is_integer and len(self._below) + len(self._above) == 0:
            return SketchedDistance(found, min(1.0, self._between / self.rows))
        before = after - (window - reference)
        highest = np.minimum(before + window, after + reference).max()
        lowest = np.maximum(before - reference, after - window).min()
        bound = max(float(highest), -float(lowest))
        return SketchedDistance(found, max(0.0, min(1.0, bound) - found))

    def _count_into(self, counts: NDArray[np.int64], values: NDArray[np.floating[Any]]) -> None:
        first = len(self._below) + 1
        cells = values - values.dtype.type(self._low)
        if self._scale != 1.0:
            cells *= values.dtype.type(self._scale)
        inside = np.bincount(
            np.clip(cells, -1, self._cells, out=cells).astype(np.int32) + np.int32(1),
            minlength=self._cells + 2,
        )
        # Truncation towards 0 puts (-1, 0) into cell 0: values just below the core are told apart by value.
        low, high = values < self._low, values > self._high
        outside_low, outside_high = values[low], values[high]
        core = inside[1 : self._cells + 1].copy()
        core[0] -= int(len(outside_low) - inside[0])
        over = int(inside[self._cells + 1]) - len(outside_high)
        core[-1] += over
        counts[first : first + self._cells] += core
        counts[:first] += np.bincount(np.searchsorted(self._below, outside_low, side="left"), minlength=first)
        counts[first + self._cells :] += np.bincount(
            np.searchsorted(self._above, outside_high, side="left"), minlength=len(self._above) + 1
        )


def _thin(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """At most `TAIL_POINTS` of the sorted values, evenly spaced."""
    unique = np.unique(values)
    if len(unique) <= TAIL_POINTS:
        return unique
    return unique[np.linspace(0, len(unique) - 1, TAIL_POINTS).round().astype(np.int64)]
