"""Population stability index: how many nats one learns from a row about whether it is of the window."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from capstan.monitoring.drift.distances import contingency
from capstan.monitoring.drift.kinds.counted import Counts, GroupedDetector

LEAST_ROWS = 0.5
"""Rows that each group counts more (Jeffreys), since a group without rows would be infinitely far away."""


class PopulationStability(GroupedDetector):
    """For numbers, by deciles of the reference, and for categories.

    Sum of (window - reference) ln(window / reference) over the shares of groups. By custom 0.1 is a small and 0.25 a
    large change.
    """

    name: ClassVar[str] = "PSI"

    def between(self, reference: Counts, window: Counts) -> float:
        counts = contingency(reference, window) + LEAST_ROWS
        was, is_now = counts / counts.sum(axis=1, keepdims=True)
        return float(((is_now - was) * np.log(is_now / was)).sum())

    def chi_squared(self, statistic: float) -> float:
        return statistic

    def by_chance(self, chi_squared: float) -> float:
        return chi_squared
