"""Cramér-von Mises: the mean squared difference in probability of the events "x <= t", over all values t."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from capstan.monitoring.drift.kinds.counted import CountedDetector, Counts
from capstan.recording.payloads import Kind


class CramerVonMises(CountedDetector):
    """For numbers: the root of three times that mean, which is 1 for samples that do not overlap.

    A shift of the whole counts more than with KS, a narrow peak less.
    """

    name: ClassVar[str] = "CramerVonMises"
    alibi: ClassVar[Mapping[str, str] | None] = {"name": "CVMDrift", "own": ""}

    @property
    def reads(self) -> Kind:
        return "numeric"

    def statistic(self, cells: NDArray[Any], reference: Counts, window: Counts) -> float:  # noqa: ARG002
        both = reference + window
        after = np.cumsum(reference / reference.sum() - window / window.sum())
        before = np.append(0.0, after[:-1])
        # Equal values are averaged over all their orders, so that they count for no difference of their own.
        squares = (before**2 + before * after + after**2) / 3
        return math.sqrt(max(0.0, 3 * float((squares * both).sum() / both.sum())))

    def p_value(self, reference: NDArray[Any], window: NDArray[Any], statistic: float) -> float:  # noqa: ARG002
        from scipy.stats import cramervonmises_2samp

        if min(len(reference), len(window)) < 2:
            return math.nan
        return float(cramervonmises_2samp(reference, window, method="asymptotic").pvalue)

    def noise(self, reference: NDArray[Any], window: int) -> float:
        """The root of the mean square: with n rows the sum of squares is 1/6 on average."""
        return math.sqrt((1 / window + 1 / len(reference)) / 2) if window and len(reference) else 0.0
