"""Ranks of streamed units, against SciPy on all of their outcomes at once."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from capstan.domain.verdicts.experiments import mann_whitney
from capstan.evaluation.experiments.effects import mann_whitney as of_values
from capstan.recording import arm_ranks
from capstan.recording.arm_ranks import RankTally

RNG = np.random.default_rng(5)
CASES = {
    "no ties": (RNG.normal(0, 1, 400), RNG.normal(0.2, 1, 300)),
    "zeros and ones": (RNG.binomial(1, 0.1, 500), RNG.binomial(1, 0.2, 700)),
    "counts": (RNG.poisson(2.0, 800), RNG.poisson(2.2, 90)),
    "mostly zero revenue": (
        RNG.binomial(1, 0.1, 900) * RNG.lognormal(3, 1, 900),
        RNG.binomial(1, 0.12, 900) * RNG.lognormal(3, 1, 900),
    ),
    "signed, and lower": (RNG.normal(0, 1, 50).round(1), RNG.normal(-1, 1, 50).round(1)),
}


def tallied(control: np.ndarray, arm: np.ndarray, pieces: int, **more: int) -> RankTally:
    tally = RankTally(2, **more)
    numbers = np.concatenate([np.zeros(len(control)), np.ones(len(arm))]).astype(np.int64)
    values = np.concatenate([control, arm]).astype(float)
    order = np.random.default_rng(pieces).permutation(len(values))
    for part in np.array_split(order, pieces):
        tally.add(numbers[part], values[part])
    return tally


@pytest.mark.parametrize(("control", "arm"), CASES.values(), ids=CASES)
def test_ranks_of_streamed_units_are_those_of_scipy(control: np.ndarray, arm: np.ndarray) -> None:
    ranks = tallied(control, arm, 7).against_first(1)
    assert ranks is not None
    found = mann_whitney(ranks, alpha=0.05)
    expected = stats.mannwhitneyu(arm, control, alternative="two-sided", method="asymptotic")
    assert ranks.won_twice / 2 == expected.statistic
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    analysed = of_values(control.astype(float), arm.astype(float), alpha=0.05)
    assert (found.difference, found.lower, found.upper) == pytest.approx(
        (analysed.difference, analysed.lower, analysed.upper), rel=1e-9
    )


def test_no_order_and_no_cut_of_the_units_changes_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    control, arm = CASES["mostly zero revenue"]
    whole = tallied(control, arm, 1).against_first(1)
    monkeypatch.setattr(arm_ranks, "LEAST_MERGED", 10)
    assert tallied(control, arm, 60).against_first(1) == whole


def test_more_distinct_outcomes_than_are_kept_leave_nothing_known() -> None:
    control, arm = CASES["no ties"]
    assert not tallied(control, arm, 3, most=700).is_full
    full = tallied(control, arm, 3, most=699)
    assert full.is_full
    assert full.against_first(1) is None


def test_an_arm_without_outcomes_is_not_ranked() -> None:
    assert tallied(np.zeros(0), np.ones(4), 1).against_first(1) is None
    assert tallied(np.ones(4), np.zeros(0), 1).against_first(1) is None


def test_outcomes_that_are_all_equal_bound_nothing() -> None:
    ranks = tallied(np.ones(40), np.ones(50), 2).against_first(1)
    assert ranks is not None
    found = mann_whitney(ranks, alpha=0.05)
    assert (found.difference, found.p_value) == (0, 1)
    assert found.lower == -np.inf
