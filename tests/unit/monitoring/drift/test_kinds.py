"""Distances are what SciPy and their formulas give, and the noise that they state is what simulation gives."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial import distance

from capstan.monitoring.drift.kinds import DETECTORS, Detector, Reads

Floats = NDArray[np.float64]
NUMERIC, CATEGORICAL = DETECTORS["numeric"], DETECTORS["categorical"]


def samples(seed: int = 0) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    return rng.gamma(2, 3, 3000), rng.gamma(2.4, 3, 1200)


def test_wasserstein_is_scipys_in_standard_deviations_of_the_reference() -> None:
    reference, window = samples()
    found = NUMERIC["Wasserstein"].compare(reference, window)
    expected = stats.wasserstein_distance(reference, window) / reference.std()
    assert found.effect == pytest.approx(expected, rel=1e-9)
    assert NUMERIC["Wasserstein"].compare(reference, window * 1000).effect == 1
    scaled = NUMERIC["Wasserstein"].compare(reference * 1e6, window * 1e6)
    assert scaled.effect == pytest.approx(found.effect, rel=1e-9)


def test_cramer_von_mises_is_scipys_statistic_without_what_grows_with_the_rows() -> None:
    reference, window = samples()
    n, m = len(reference), len(window)
    scipy = stats.cramervonmises_2samp(reference, window, method="asymptotic")
    found = NUMERIC["CramerVonMises"].compare(reference, window)
    mean_square = scipy.statistic * (n + m) / (n * m)
    assert found.effect == pytest.approx(math.sqrt(3 * mean_square), abs=2e-3)
    assert found.p_value == scipy.pvalue
    assert NUMERIC["CramerVonMises"].compare(reference, reference + 1e6).effect == pytest.approx(1)


def deciles(reference: Floats, window: Floats) -> tuple[Floats, Floats]:
    edges = np.quantile(reference, np.arange(1, 10) / 10, method="inverted_cdf")
    shares = [
        np.histogram(values, [-math.inf, *np.nextafter(edges, math.inf), math.inf])[0] / len(values)
        for values in (reference, window)
    ]
    return shares[0], shares[1]


def test_jensen_shannon_is_scipys_over_the_deciles_of_the_reference() -> None:
    reference, window = samples()
    expected = distance.jensenshannon(*deciles(reference, window), base=2)
    assert NUMERIC["JensenShannon"].compare(reference, window).effect == pytest.approx(expected)


def test_psi_is_its_formula_over_the_deciles_of_the_reference() -> None:
    reference, window = samples()
    was, found = deciles(reference, window)
    expected = float(((found - was) * np.log(found / was)).sum())
    # Half a row more in each group.
    assert NUMERIC["PSI"].compare(reference, window).effect == pytest.approx(expected, rel=0.02)


def test_a_group_without_rows_is_far_away_and_not_infinitely_far() -> None:
    reference, window = np.repeat([0, 1], 500), np.repeat([1, 2], 500)
    found = CATEGORICAL["PSI"].compare(reference, window)
    assert found.effect == 1
    assert 5 < found.statistic < 10
    assert CATEGORICAL["JensenShannon"].compare(reference, window).effect == pytest.approx(math.sqrt(0.5))


def test_fishers_p_value_is_exact_where_chi_squared_is_an_approximation() -> None:
    reference, window = np.repeat([0, 1], [18, 2]), np.repeat([0, 1], [3, 4])
    found = CATEGORICAL["FisherExact"].compare(reference, window)
    assert found.p_value == stats.fisher_exact([[18, 2], [3, 4]]).pvalue
    assert found.effect == CATEGORICAL["ChiSquared"].compare(reference, window).effect


def test_fishers_p_value_of_three_categories_is_near_that_of_chi_squared_where_there_are_many_rows() -> None:
    was, found = np.repeat([0, 1, 2], [2000, 1200, 800]), np.repeat([0, 1, 2], [960, 620, 420])
    fisher, chi_squared = (
        CATEGORICAL[name].compare(was, found).p_value for name in ("FisherExact", "ChiSquared")
    )
    assert 0.05 < chi_squared < 0.9
    assert fisher == pytest.approx(chi_squared, abs=0.05)


@pytest.mark.parametrize("name", ["CramerVonMises", "JensenShannon", "PSI"])
def test_p_values_without_drift_are_uniform(name: str) -> None:
    """Each of ten shares of the unit interval gets about a tenth of them."""
    rng = np.random.default_rng(3)
    p_values = [NUMERIC[name].compare(rng.random(2000), rng.random(1000)).p_value for _ in range(400)]
    assert stats.kstest(p_values, "uniform").pvalue > 0.001


def drawn(kind: Reads) -> Callable[[np.random.Generator, int], NDArray[np.float64] | NDArray[np.int64]]:
    if kind == "numeric":
        return lambda rng, rows: rng.gamma(2, 3, rows)
    if kind == "rows":
        return lambda rng, rows: rng.normal(size=(rows, 5))
    return lambda rng, rows: rng.choice(6, rows, p=[0.4, 0.2, 0.15, 0.1, 0.1, 0.05])


@pytest.mark.parametrize(
    "detector",
    [
        detector
        for members in DETECTORS.values()
        for name, detector in members.items()
        if name not in ("KS", "ChiSquared", "FisherExact")
    ],
    ids=lambda detector: f"{detector.name}-{detector.reads}",
)
def test_the_stated_noise_is_what_simulation_gives(detector: Detector) -> None:
    rng = np.random.default_rng(8)
    draw = drawn(detector.reads)
    size, worlds = (4000, 25) if detector.reads == "rows" else (20_000, 120)
    reference = draw(rng, size)
    for rows in (200, 2000):
        effects = [detector.effect(draw(rng, size), draw(rng, rows)) for _ in range(worlds)]
        # Some state the root of the mean square, which is up to a fifth above the mean.
        assert np.mean(effects) == pytest.approx(detector.noise(reference, rows), rel=0.2)


def test_frequent_values_are_groups_of_their_own() -> None:
    reference = np.repeat([0.0, 1.0, 2.0], [6000, 3000, 1000])
    window = np.repeat([0.0, 1.0, 2.0], [3000, 6000, 1000])
    expected = distance.jensenshannon([0.6, 0.3, 0.1], [0.3, 0.6, 0.1], base=2)
    assert NUMERIC["JensenShannon"].compare(reference, window).effect == pytest.approx(expected)


def test_lines_of_counts_are_compared_as_each_by_itself() -> None:
    rng = np.random.default_rng(3)
    wholes = rng.integers(0, 40, (300, 258))
    blocks = rng.binomial(wholes, 0.3)
    for detector in (NUMERIC["KS"], CATEGORICAL["ChiSquared"]):
        distances, noises = detector.of_slices(np.arange(258), blocks, wholes)
        lines = list(zip(blocks, wholes, strict=True))
        assert distances.tolist() == [detector.from_rest(np.arange(258), *line) for line in lines]
        assert noises.tolist() == [detector.noise_of_block(np.arange(258), *line) for line in lines]
        none = detector.of_slices(np.arange(258), blocks[:0], wholes[:0])
        assert [one.tolist() for one in none] == [[], []]
