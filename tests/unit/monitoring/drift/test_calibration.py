"""What thresholds promise."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from capstan.monitoring.drift.calibration import (
    MONTH,
    false_breach_probability,
    for_size,
    leave_out,
    threshold,
)
from capstan.monitoring.drift.distances import ks, total_variation

WEEK = timedelta(days=7)


def test_the_budget_of_false_alarms_becomes_a_quantile_per_feature() -> None:
    # A = 0.1 alarms, 4.35 windows a month, 10 features: 1 - p is the 0.9977 of facts/statistics.md section 7.
    assert 1 - false_breach_probability(0.1, WEEK, 10, 1) == pytest.approx(0.9977, abs=1e-4)
    assert false_breach_probability(0.1, WEEK, 1, 2) == pytest.approx((0.1 / 4.348) ** 0.5, rel=1e-3)
    assert false_breach_probability(100, WEEK, 1, 1) == 0.5


def test_too_few_blocks_for_the_quantile_give_a_quarter_above_the_maximum() -> None:
    found = threshold([0.02, 0.08, 0.05], 0.02, independent_blocks=3)
    assert (found.rule, found.blocks) == ("Maximum", 3)
    assert found.value == pytest.approx(0.1)


def test_enough_blocks_give_the_quantile() -> None:
    found = threshold(np.linspace(0, 1, 1001).tolist(), 0.05, independent_blocks=1001)
    assert found.rule == "Quantile"
    assert found.value == pytest.approx(0.95)


def test_overlapping_blocks_are_not_counted_as_evidence() -> None:
    distances = np.linspace(0, 1, 1001).tolist()
    assert threshold(distances, 0.05, independent_blocks=20).rule == "Maximum"


def test_few_of_many_blocks_are_too_few_for_a_rare_quantile() -> None:
    found = threshold(np.linspace(0, 0.2, 20).tolist(), 0.01, independent_blocks=1000)
    assert (found.rule, found.value, found.blocks) == ("Maximum", pytest.approx(0.25), 20)


def test_no_block_leaves_the_minimum_effect_alone() -> None:
    assert threshold([], 0.1, independent_blocks=0).rule == "MinEffect"


def test_leaving_a_block_out_is_exact() -> None:
    rng = np.random.default_rng(0)
    block, rest = rng.normal(0.4, 1, 300), rng.normal(0, 1, 900)
    whole = np.concatenate([block, rest])
    assert leave_out(ks(whole, block).effect, 0.25) == pytest.approx(ks(rest, block).effect, abs=1e-12)
    counts = rng.integers(1, 50, (2, 6))
    share = counts[0].sum() / counts.sum()
    assert leave_out(total_variation(counts.sum(axis=0), counts[0]), share) == pytest.approx(
        total_variation(counts[1], counts[0])
    )


def test_a_smaller_window_raises_and_a_larger_one_never_lowers_the_threshold() -> None:
    assert for_size(0.1, noise=0.09, calibrated_noise=0.04) == pytest.approx(0.15)
    assert for_size(0.1, noise=0.01, calibrated_noise=0.04) == 0.1


def test_looks_that_overlap_each_count_and_do_not_confirm_each_other() -> None:
    day = timedelta(days=1)
    looks = MONTH / day
    assert false_breach_probability(0.1, WEEK, 1, 1, step=day) == pytest.approx(0.1 / looks)
    # Two looks in a row share six days of seven, eight are the first that have a pair without a common row.
    assert false_breach_probability(0.1, WEEK, 1, 2, step=day) == pytest.approx(0.1 / looks)
    assert false_breach_probability(0.1, WEEK, 1, 8, step=day) == pytest.approx((0.1 / looks) ** 0.5)
    assert false_breach_probability(0.1, WEEK, 1, 2, step=WEEK) == false_breach_probability(0.1, WEEK, 1, 2)


def test_many_columns_beside_each_other_are_farther_above_their_maxima() -> None:
    def found(columns: int) -> float:
        return threshold([0.02, 0.08], 0.02, independent_blocks=2, columns=columns).value

    assert found(1) == found(20) == pytest.approx(1.25 * 0.08)
    assert found(100) == pytest.approx((1.25 + 0.2 * np.log(5)) * 0.08)
    many = threshold([0.01 * n for n in range(200)], 0.05, independent_blocks=200, columns=100)
    assert many.rule == "Quantile"
    assert many.value == pytest.approx(1.8905)
