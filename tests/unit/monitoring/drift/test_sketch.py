"""What the sketch of large windows promises: a distance with an error that holds."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from capstan.monitoring.drift.sketch import Sketch

DRAWS = {
    "normal": lambda rng, n, shift: rng.normal(shift, 1, n),
    "heavy_tail": lambda rng, n, shift: rng.standard_cauchy(n) + shift,
    "integers": lambda rng, n, shift: rng.integers(0, 24, n) + np.rint(shift),
    "skewed": lambda rng, n, shift: rng.lognormal(shift, 1.5, n),
    "one_value": lambda rng, n, shift: np.full(n, np.rint(3 * shift)),
}


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(sorted(DRAWS)),
    seed=st.integers(0, 10_000),
    shift=st.sampled_from([0.0, 0.02, 0.5, 3.0]),
)
def test_the_true_distance_is_within_the_stated_error(name: str, seed: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    reference, window = DRAWS[name](rng, 2000, 0.0), DRAWS[name](rng, 5000, shift)
    sketch = Sketch(reference)
    for batch in np.array_split(window, 3):
        sketch.add(batch)
    found, exact = sketch.distance(), ks_2samp(reference, window).statistic
    assert sketch.rows == 5000
    assert found.effect - 1e-9 <= exact <= found.effect + found.error + 1e-9


def test_the_error_is_small_for_large_samples() -> None:
    rng = np.random.default_rng(1)
    reference, window = rng.normal(size=20_000), rng.normal(0.1, 1.0, 300_000)
    sketch = Sketch(reference)
    sketch.add(window)
    assert sketch.distance().effect == pytest.approx(ks_2samp(reference, window).statistic, abs=5e-4)
    assert sketch.distance().error < 2e-3


def test_one_nan_is_counted_and_hides_nothing() -> None:
    rng = np.random.default_rng(2)
    sketch = Sketch(rng.normal(size=2000))
    window = rng.normal(3, 1, 5000)
    window[7], window[8] = np.nan, np.inf
    sketch.add(window)
    assert (sketch.missing, sketch.rows) == (2, 4998)
    assert sketch.distance().effect > 0.8


def test_memory_does_not_grow_with_the_window() -> None:
    rng = np.random.default_rng(3)
    sketch = Sketch(rng.normal(size=2000))
    batch = rng.normal(size=50_000)
    sketch.add(batch)
    tracemalloc.start()
    sketch.add(batch)
    few = tracemalloc.get_traced_memory()[1]
    for _ in range(20):
        sketch.add(batch)
    assert tracemalloc.get_traced_memory()[1] < 1.1 * few
    tracemalloc.stop()
