from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from capstan.domain.verdicts.analysis import Verdict
from capstan.domain.verdicts.blocks import autocorrelation, merge, residuals, sum_blocks
from capstan.domain.verdicts.confidence import one_sided_radius
from capstan.domain.verdicts.evidence import LossBlock, PairedEvidence
from capstan.domain.verdicts.merging import merge_as_needed
from capstan.domain.verdicts.quality import Decide, QualityRule, judge_quality

START = datetime(2013, 2, 1, tzinfo=UTC)


def days(differences, counts=None):
    counts = [400] * len(differences) if counts is None else counts
    return [
        LossBlock(START + timedelta(days=day), int(count), float(difference) * int(count), 0.99)
        for day, (difference, count) in enumerate(zip(differences, counts, strict=True))
    ]


def last(blocks, least=7):
    return list(merge_as_needed(blocks, least=least))[-1]


def pairs_of_days(pairs, seed=3):
    """Two days in a row share most of their effect; pairs are independent."""
    rng = np.random.default_rng(seed)
    return np.repeat(rng.normal(0, 0.05, pairs), 2) + rng.normal(0, 0.005, 2 * pairs)


def test_the_running_numbers_are_those_of_the_whole_series():
    rng = np.random.default_rng(1)
    blocks = days(0.02 + pairs_of_days(20), rng.poisson(300, 40))
    for size, least in ((1, 40), (2, 20), (3, 13)):
        found = next(each for each in reversed(list(merge_as_needed(blocks, least=least))))
        joined = merge(blocks, size)
        assert found.single == pytest.approx(autocorrelation(residuals(blocks)))
        if found.size == size:
            assert found.merged == pytest.approx(autocorrelation(residuals(joined)))
            assert found.sums.difference == pytest.approx(sum_blocks(joined).difference)
            assert found.sums.spread == pytest.approx(sum_blocks(joined).spread)


def test_days_in_pairs_are_merged_two_at_a_time_and_the_message_says_why():
    evidence = days(0.2 + pairs_of_days(12))
    found = last(evidence)
    assert (found.size, found.is_independent, found.sums.blocks) == (2, True, 12)
    labels = sum(block.count for block in evidence)
    paired = PairedEvidence(tuple(evidence), paired_requests=labels, labelled_pairs=labels)
    result = judge_quality(paired, QualityRule(Decide.NOT_WORSE, margin=0.01))
    assert result.verdict is Verdict.SUCCESSFUL
    assert "over 24 blocks" in result.message
    assert "2 blocks merged at a time into 12 units, as neighbouring blocks go together" in result.message
    assert (
        f"(lag-1 autocorrelation {found.single:+.2f} of blocks, {found.merged:+.2f} of units"
        in result.message
    )
    assert (result.numbers["blocks"], result.numbers["units"]) == (24, 12)


def test_seven_days_that_go_together_are_too_few_for_any_verdict_but_wait_for_more():
    rising = [0.30, 0.31, 0.32, 0.33, 0.34, 0.35, 0.36]
    labels = 400 * 7
    paired = PairedEvidence(tuple(days(rising)), paired_requests=labels, labelled_pairs=labels)
    for decide in Decide:
        result = judge_quality(paired, QualityRule(decide, margin=0.01))
        assert (result.verdict, result.premature) == (Verdict.INCONCLUSIVE, True)
        assert (
            "7 of 14 closed blocks, as neighbouring blocks go together (lag-1 autocorrelation"
            in result.message
        )


def test_a_trend_that_no_length_makes_independent_promotes_nobody_and_still_stops_what_is_worse():
    for sign, expected in ((1, Verdict.INCONCLUSIVE), (-1, Verdict.FAILED)):
        trend = [sign * (0.3 + 0.005 * day) for day in range(28)]
        paired = PairedEvidence(tuple(days(trend)), paired_requests=28 * 400, labelled_pairs=28 * 400)
        assert judge_quality(paired, QualityRule(Decide.NOT_WORSE, margin=0.01)).verdict is expected


def test_a_length_that_was_used_is_never_made_shorter():
    rng = np.random.default_rng(5)
    for _ in range(30):
        correlated = pairs_of_days(10, seed=int(rng.integers(1 << 30)))
        walked = list(merge_as_needed(days(np.concatenate([correlated, rng.normal(0, 0.05, 40)])), least=7))
        used = [each.size for each in walked if each.closed >= 7 and each.is_independent]
        assert used == sorted(used)


def test_equal_blocks_are_independent_and_blocks_without_labels_are_none():
    blocks = days([0.1] * 9)
    blocks.insert(3, LossBlock(START, 0, 0.0, 0.0))
    found = last(blocks)
    assert (found.closed, found.size, found.is_independent, found.single) == (9, 1, True, 0.0)


def test_what_is_known_after_a_block_rests_on_no_later_block():
    blocks = days(pairs_of_days(15))
    whole = list(merge_as_needed(blocks, least=7))
    assert whole[:18] == list(merge_as_needed(blocks[:18], least=7))


def test_what_merged_days_alone_would_pass_waits_while_days_may_only_go_together():
    """Two days in a row share their effect, so that the lag-1 autocorrelation is near 0.5."""
    effects = 0.09 + pairs_of_days(12)
    alone = last(days(effects))
    assert (alone.size, alone.single > 0.2) == (2, True)
    radius = one_sided_radius(12, planned_units=14, alpha=0.05)
    assert alone.sums.is_above(0.0, radius)
    assert not alone.is_above(0.0, radius, 0.1)
    paired = PairedEvidence(tuple(days(effects)), paired_requests=9600, labelled_pairs=9600)
    result = judge_quality(paired, QualityRule(Decide.NOT_WORSE))
    assert (result.verdict, result.reason) == (Verdict.INCONCLUSIVE, "NotDecided")
    assert result.numbers["lower"] == pytest.approx(alone.neighbours.bounds(0.1)[0])
    assert result.numbers["alpha"] == 0.05
    assert "the bounds leave room for blocks that go together" in result.message
