"""Fisher's exact test with total variation: for columns with few rows, where chi-squared is only an approximation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from capstan.monitoring.drift.distances import Distance, contingency, total_variation
from capstan.monitoring.drift.kinds.chi_squared import ChiSquared

RESAMPLES = 999
"""Tables with the same margins that are drawn for more than two categories; two are computed."""


class FisherExact(ChiSquared):
    """For categories: the distance of `ChiSquared`, with another p-value."""

    name: ClassVar[str] = "FisherExact"
    alibi: ClassVar[Mapping[str, str] | None] = None

    def of_counts(self, reference: NDArray[np.int64], window: NDArray[np.int64]) -> Distance:
        from scipy.stats import fisher_exact

        table = contingency(reference, window)
        if table.shape[1] < 2:
            return Distance(0.0, 1.0, 0.0)
        p_value = float(fisher_exact(table).pvalue) if table.shape[1] == 2 else _drawn_p_value(table)
        effect = total_variation(reference, window)
        return Distance(effect, p_value, effect)


def _drawn_p_value(table: NDArray[np.int64]) -> float:
    """Share of drawn tables that are at most as probable.

    `fisher_exact` of SciPy 1.17 fails here: it takes all drawn tables for one where the table has many rows.
    """
    from scipy.stats import random_table

    tables = random_table(table.sum(axis=1), table.sum(axis=0), seed=0)
    probable = tables.logpmf(table) + 1e-9
    return float(1 + (tables.logpmf(tables.rvs(RESAMPLES)) <= probable).sum()) / (1 + RESAMPLES)
