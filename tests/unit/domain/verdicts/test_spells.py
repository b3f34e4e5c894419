"""Days that go together, and the difference that they may only seem to show."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from capstan.domain.verdicts.analysis import Verdict
from capstan.domain.verdicts.confidence import two_sided_radius
from capstan.domain.verdicts.evidence import LossBlock, PairedEvidence
from capstan.domain.verdicts.merging import merge_as_needed
from capstan.domain.verdicts.quality import Decide, QualityRule, judge_quality
from capstan.domain.verdicts.spells import (
    AUTOCORRELATIONS,
    LIKELIHOOD,
    VARIANCE,
    Neighbours,
    expected_log_ratio,
)

START = datetime(2013, 2, 1, tzinfo=UTC)


def ar(correlation, runs, days, seed):
    fresh = np.random.default_rng(seed).standard_normal((runs, days))
    series = fresh.copy()
    for day in range(1, days):
        series[:, day] = correlation * series[:, day - 1] + math.sqrt(1 - correlation**2) * fresh[:, day]
    return series


def neighbours(differences):
    found = Neighbours()
    for difference in differences:
        found = found.add(float(difference))
    return found


def evidence(differences, count=400):
    blocks = tuple(
        LossBlock(START + timedelta(days=day), count, float(one) * count, 0.99)
        for day, one in enumerate(differences)
    )
    return PairedEvidence(blocks, paired_requests=count * len(blocks), labelled_pairs=count * len(blocks))


def log_density(values, covariance):
    """ln, with the scale integrated out by 1/sigma, less what does not depend on the covariance."""
    _, log_determinant = np.linalg.slogdet(covariance)
    return -0.5 * log_determinant - len(values) / 2 * math.log(values @ np.linalg.solve(covariance, values))


def log_ratio(values):
    """By whole matrices, as nobody would compute it after each block."""
    n = len(values)
    apart = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    different = np.eye(n) + VARIANCE / n * np.ones((n, n))
    return log_density(values, different) - max(log_density(values, rho**apart) for rho in AUTOCORRELATIONS)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("days", [9, 16, 30])
def test_at_its_bounds_a_difference_is_likelier_than_a_spell_by_exactly_what_is_asked(days, seed):
    differences = 0.1 + ar(0.4, 1, days, seed)[0] * 0.05
    lower, upper = neighbours(differences).bounds(0.05)
    assert lower < differences.mean() < upper
    for bound in (lower, upper):
        assert log_ratio(differences - bound) == pytest.approx(math.log(LIKELIHOOD / 0.05), abs=1e-6)
    for hidden in np.linspace(lower, upper, 9)[1:-1]:
        assert log_ratio(differences - hidden) < math.log(LIKELIHOOD / 0.05)
    for shown in (lower - 0.01, upper + 0.01, lower - 1, upper + 1):
        assert log_ratio(differences - shown) > math.log(LIKELIHOOD / 0.05)


def test_days_with_many_and_with_few_requests_leave_no_more_room_for_a_spell_than_equal_days():
    """Sums of such days look as if they varied, and bounded nothing for two weeks: deadlines went by."""
    noise = np.array([0.3, -1.1, 0.8, -0.2, 0.9, -0.7, 0.1])
    counts = [230, 40, 210, 250, 60, 235, 90]
    blocks = [
        LossBlock(START + timedelta(days=day), count, float(one) * count, 0.99)
        for day, (one, count) in enumerate(zip(noise, counts, strict=True))
    ]
    merged = list(merge_as_needed(blocks, least=7))[-1]
    assert merged.neighbours == neighbours(noise)
    assert all(map(math.isfinite, merged.neighbours.bounds(0.05)))


def test_bounds_move_with_the_differences_and_widen_as_alpha_falls():
    differences = ar(0.3, 1, 20, 4)[0]
    lower, upper = neighbours(differences).bounds(0.05)
    assert neighbours(3 + 2 * differences).bounds(0.05) == pytest.approx((3 + 2 * lower, 3 + 2 * upper))
    low, high = neighbours(differences).bounds(0.01)
    assert low < lower
    assert high > upper


def test_many_days_that_are_independent_exclude_every_spell_and_the_bounds_are_those_of_independent_days():
    differences = np.random.default_rng(1).normal(0.1, 1, 150)
    assert neighbours(differences).bounds(0.05) == (math.inf, -math.inf)
    merged = list(merge_as_needed(evidence(differences).blocks, least=7))[-1]
    radius = two_sided_radius(merged.sums.blocks, planned_units=14, alpha=0.05)
    assert merged.bounds(radius, 0.05) == merged.sums.bounds(radius)


def test_too_few_days_for_so_small_an_alpha_bound_nothing():
    assert neighbours([1.0]).bounds(0.05) == (-math.inf, math.inf)
    assert neighbours(100 + np.arange(7) % 2).bounds(0.0001) == (-math.inf, math.inf)
    assert all(map(math.isfinite, neighbours(100 + np.arange(7) % 2).bounds(0.05)))


@pytest.mark.parametrize(("decide", "sides"), [(Decide.BETTER, (-1, 1)), (Decide.NOT_WORSE, (1,))])
def test_equal_models_are_called_different_in_at_most_alpha_where_days_go_together(decide, sides):
    """Of days that are merged alone more than 11 % are: a length that looks independent is soon found by chance."""
    rule, runs = QualityRule(decide), 300
    wrong = alone = 0
    for differences in ar(0.6, runs, 30, 12):
        looked = judge_quality(evidence(differences), rule)
        verdicts = {1: Verdict.SUCCESSFUL, -1: Verdict.FAILED}
        wrong += looked.verdict in {verdicts[side] for side in sides}
        for merged in merge_as_needed(evidence(differences).blocks, least=7):
            radius = rule.radius(merged.sums.blocks)
            if (
                merged.closed >= 7
                and merged.is_independent
                and (merged.sums.is_above(0.0, radius) or (-1 in sides and merged.sums.is_below(0.0, radius)))
            ):
                alone += 1
                break
    assert wrong / runs <= 0.06
    assert alone / runs > 0.1


@pytest.mark.parametrize("decide", list(Decide))
def test_what_is_worse_by_many_deviations_of_a_day_is_stopped_on_the_seventh_day(decide):
    noise = np.array([0.3, -1.1, 0.8, -0.2, 0.9, -0.7, 0.1])
    result = judge_quality(evidence(-0.7 + 0.06 * noise), QualityRule(decide, margin=0.01))
    assert (result.verdict, result.reason) == (Verdict.FAILED, "ShownWorse")


def test_eight_days_with_a_gain_of_two_deviations_may_be_a_spell_and_the_message_says_so():
    noise = np.array([0.7, 0.9, -0.3, 1.0, -1.0, -0.6, 0.4, -1.1])
    result = judge_quality(evidence(0.1 + 0.06 * noise), QualityRule(Decide.BETTER))
    assert result.reason == "NotDecided"
    told = "the bounds leave room for blocks that go together (lag-1 autocorrelation up to 0.6)"
    assert told in result.message
    assert "of independent blocks they would be [+0.0" in result.message
    assert result.numbers["lower"] < 0 < result.numbers["upper"]
    later = judge_quality(evidence(0.1 + 0.06 * np.tile(noise, 2)), QualityRule(Decide.BETTER))
    assert later.verdict is Verdict.SUCCESSFUL


def test_unless_worse_waits_while_nothing_could_have_been_shown_worse():
    noise = np.array([0.3, -1.1, 0.8, -0.2, 1.3, -0.7, 0.1])
    rule = QualityRule(Decide.UNLESS_WORSE, alpha=0.002, margin=0.05)
    assert rule.least_blocks == 7
    result = judge_quality(evidence(0.06 * noise), rule)
    assert (result.verdict, result.premature) == (Verdict.INCONCLUSIVE, True)
    assert "7 closed blocks bound no difference yet" in result.message
    assert judge_quality(evidence(0.06 * np.tile(noise, 2)), rule).verdict is Verdict.SUCCESSFUL


@pytest.mark.parametrize("effect", [0.8, 2.0, 5.0])
@pytest.mark.parametrize("days", [10, 20])
def test_the_expected_ratio_is_that_of_days_that_show_just_the_effect(effect, days):
    """Residuals whose squares sum to days - 1 and whose neighbours are not correlated."""
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(60):
        noise = rng.standard_normal(days)
        noise -= noise.mean()
        ratios.append(log_ratio(effect + noise * math.sqrt((days - 1) / (noise @ noise))))
    assert expected_log_ratio(days, effect) == pytest.approx(np.median(ratios), abs=0.8)
