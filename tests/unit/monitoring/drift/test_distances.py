"""Distances of two samples, beside those of the library."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from capstan.monitoring.drift.distances import in_order, ks

# Few values, so that samples share them and repeat them, and doubles of all sizes.
VALUES = st.one_of(st.integers(-3, 3).map(float), st.floats(allow_nan=False, allow_infinity=False))
SAMPLES = st.lists(VALUES, min_size=1, max_size=60).map(np.array)


@given(reference=SAMPLES, window=SAMPLES)
def test_the_distance_and_its_p_value_are_those_of_scipy_to_the_bit(
    reference: NDArray[np.float64], window: NDArray[np.float64]
) -> None:
    expected = ks_2samp(reference, window, alternative="two-sided", method="asymp")
    for sample in (reference, in_order(reference)):
        # SciPy knows no p-value of two samples of one value each.
        assert np.array_equal(ks(sample, window)[:2], (expected.statistic, expected.pvalue), equal_nan=True)


@pytest.mark.parametrize("rows", [(20_000, 1700), (1700, 20_000), (20_000, 20_000)])
def test_the_distance_of_many_rows_is_that_of_scipy_to_the_bit(rows: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    reference, window = rng.normal(size=rows[0]), rng.normal(0.03, 1.02, size=rows[1]).round(2)
    expected = ks_2samp(reference, window, alternative="two-sided", method="asymp")
    assert ks(in_order(reference), window)[:2] == (expected.statistic, expected.pvalue)


def test_a_sample_that_is_in_order_is_not_copied() -> None:
    sample = np.array([1.0, 1.0, 2.0])
    assert in_order(sample) is sample
    assert in_order(sample[::-1]).tolist() == sample.tolist()
