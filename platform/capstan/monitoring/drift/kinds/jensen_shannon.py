"""Jensen-Shannon distance: 0 for the same shares of groups, 1 for groups that have nothing in common."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from capstan.monitoring.drift.kinds.counted import Counts, GroupedDetector

_FACTOR = 8 * math.log(2)
"""Near 0 the divergence in bits is a chi-squared divided by this."""


class JensenShannon(GroupedDetector):
    """For numbers, by deciles of the reference, and for categories: the root of the divergence in bits."""

    name: ClassVar[str] = "JensenShannon"

    def between(self, reference: Counts, window: Counts) -> float:
        from scipy.spatial.distance import jensenshannon

        found = float(jensenshannon(reference, window, base=2))
        # Shares that differ in the last bit alone give the root of a number below 0.
        return 0.0 if math.isnan(found) else found

    def chi_squared(self, statistic: float) -> float:
        return statistic**2 * _FACTOR

    def by_chance(self, chi_squared: float) -> float:
        return float(np.sqrt(chi_squared / _FACTOR))
