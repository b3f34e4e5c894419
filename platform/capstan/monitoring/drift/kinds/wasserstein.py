"""Wasserstein: how far, on average, a value must be moved to make one sample the other."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from capstan.monitoring.drift.kinds.counted import CountedDetector, Counts
from capstan.recording.payloads import Kind


class Wasserstein(CountedDetector):
    """For numbers: the distance in standard deviations of the reference; one or more is 1."""

    name: ClassVar[str] = "Wasserstein"

    @property
    def reads(self) -> Kind:
        return "numeric"

    def statistic(self, cells: NDArray[Any], reference: Counts, window: Counts) -> float:
        from scipy.stats import wasserstein_distance

        moved = float(wasserstein_distance(cells, cells, reference, window))
        spread = _spread(cells, reference)
        if not spread:
            return 1.0 if moved else 0.0
        return moved / spread

    def noise(self, reference: NDArray[Any], window: int) -> float:
        """By the normal approximation of the shares below each value."""
        if not len(reference) or not window:
            return 0.0
        cells, counts = np.unique(reference, return_counts=True)
        spread = _spread(cells, counts)
        if not spread:
            return 0.0
        below = np.cumsum(counts)[:-1] / len(reference)
        width = float((np.sqrt(below * (1 - below)) * np.diff(cells)).sum())
        return min(1.0, math.sqrt(2 / math.pi * (1 / window + 1 / len(reference))) * width / spread)


def _spread(cells: NDArray[Any], counts: Counts) -> float:
    """Standard deviation of the values; 0 if they are one value but for rounding."""
    mean = np.average(cells, weights=counts)
    found = float(np.sqrt(np.average((cells - mean) ** 2, weights=counts)))
    return found if found > 1e-12 * float(np.abs(cells).max(initial=0.0)) else 0.0
