"""What the verdict on quality may and may not say."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from capstan.domain.verdicts.analysis import Latch, Verdict
from capstan.domain.verdicts.blocks import sum_blocks
from capstan.domain.verdicts.evidence import LossBlock, PairedEvidence
from capstan.domain.verdicts.quality import LOOKS_WORSE, Decide, QualityRule, judge_quality, merged_blocks
from capstan.errors import InvalidSpecError
from capstan.ports.codec import from_json, to_json

START = datetime(2013, 2, 1, tzinfo=UTC)
NOISE = (0.03, -0.05, 0.06, -0.02, 0.01, -0.04, 0.05, 0.02, -0.06, 0.04, -0.01, -0.03, 0.05, -0.05)


def block(index, difference, count=400, coverage=0.99):
    return LossBlock(START + timedelta(days=index), count, difference * count, coverage)


def evidence(differences, **changes):
    blocks = tuple(block(index, difference) for index, difference in enumerate(differences))
    labels = sum(b.count for b in blocks)
    known = {"blocks": blocks, "paired_requests": labels + 10, "labelled_pairs": labels} | changes
    return PairedEvidence(**known)


def shifted(mean, blocks):
    return [mean + NOISE[index % len(NOISE)] for index in range(blocks)]


RULES = [pytest.param(QualityRule(decide, margin=0.01), id=decide) for decide in Decide]

VERDICTS = [
    pytest.param(Decide.BETTER, 0.08, 14, Verdict.SUCCESSFUL, "ShownBetter", id="better-shown-better"),
    pytest.param(Decide.BETTER, 0.0, 14, Verdict.INCONCLUSIVE, "NotDecided", id="equal-is-not-better"),
    pytest.param(Decide.BETTER, -0.12, 14, Verdict.FAILED, "ShownWorse", id="worse-under-better"),
    pytest.param(Decide.NOT_WORSE, 0.05, 14, Verdict.SUCCESSFUL, "ShownNotWorse", id="gain-is-not-worse"),
    pytest.param(Decide.NOT_WORSE, 0.0, 14, Verdict.INCONCLUSIVE, "NotDecided", id="equal-needs-longer"),
    pytest.param(Decide.NOT_WORSE, -0.12, 14, Verdict.FAILED, "ShownWorse", id="worse-under-not-worse"),
    pytest.param(
        Decide.UNLESS_WORSE, 0.0, 7, Verdict.SUCCESSFUL, "NotShownWorse", id="equal-passes-unless-worse"
    ),
    pytest.param(Decide.UNLESS_WORSE, -0.12, 7, Verdict.FAILED, "ShownWorse", id="clearly-worse-is-stopped"),
]


@pytest.mark.parametrize(("decide", "mean", "blocks", "verdict", "reason"), VERDICTS)
def test_each_rule_decides_by_its_own_burden_of_proof(decide, mean, blocks, verdict, reason):
    result = judge_quality(evidence(shifted(mean, blocks)), QualityRule(decide, margin=0.01))
    assert (result.verdict, result.reason) == (verdict, reason)
    assert result.message.startswith(decide)
    assert not result.premature


def test_the_message_says_rule_numbers_and_interval():
    rule = QualityRule(Decide.BETTER, metric="logLoss", margin=0.01)
    result = judge_quality(evidence(shifted(0.08, 14)), rule)
    assert result.latch is not None
    assert result.message == (
        f"Better: shown better by more than 0 logLoss at block {result.latch.block}; logLoss difference +0.0800 per "
        "request over 14 blocks, two-sided 95% bounds [+0.0394, +0.1206] (positive favours the challenger)"
    )


def test_unless_worse_says_what_it_could_have_missed():
    rule = QualityRule(Decide.UNLESS_WORSE, margin=0.01)
    result = judge_quality(evidence(shifted(0.0, 7)), rule)
    assert "a choice of risk, not a proof" in result.message
    assert f"truly worse by up to {-result.numbers['lower']:.4f} per request" in result.message
    assert result.numbers["lower"] < -0.05


def test_unless_worse_success_is_not_latched_so_that_later_blocks_can_still_stop_it():
    rule = QualityRule(Decide.UNLESS_WORSE, margin=0.01)
    first = judge_quality(evidence(shifted(0.0, 7)), rule)
    assert first.verdict is Verdict.SUCCESSFUL
    assert first.latch is None
    turned = judge_quality(evidence(shifted(0.0, 7) + shifted(-0.1, 28)), rule, latched=first.latch)
    assert turned.verdict is Verdict.FAILED


SHUFFLED = (
    (427, -0.531),
    (324, -0.738),
    (406, -0.293),
    (442, -1.335),
    (437, -0.358),
    (441, -0.368),
    (452, -1.165),
    (233, -1.282),
)
"""Eight days of flights, champion less a model that had learnt shuffled labels by heart: pairs, log loss per pair."""


def judge_days(days, rule, latched=None):
    blocks = tuple(block(index, difference, count) for index, (count, difference) in enumerate(days))
    labels = sum(count for count, _ in days)
    return judge_quality(PairedEvidence(blocks, labels, labels), rule, latched=latched)


def test_seven_days_that_all_say_worse_do_not_pass_unless_worse_though_the_bound_reaches_over_the_margin():
    rule = QualityRule(Decide.UNLESS_WORSE, metric="logLoss", margin=0.01)
    result = judge_days(SHUFFLED[:7], rule)
    assert result.numbers["upper"] > -rule.margin
    assert (result.verdict, result.reason, result.latch) == (Verdict.INCONCLUSIVE, LOOKS_WORSE, None)
    assert not result.premature
    assert result.message.startswith(
        "UnlessWorse: looks worse by more than 0.01 logLoss, not yet shown (an ordinary t test at 10% says so): waits "
        "for more blocks; logLoss difference -0.6897 per request over 7 blocks"
    )


def test_what_looks_worse_is_shown_worse_by_the_ninth_day():
    rule = QualityRule(Decide.UNLESS_WORSE, margin=0.01)
    eighth = judge_days(SHUFFLED, rule, judge_days(SHUFFLED[:7], rule).latch)
    assert (eighth.reason, eighth.latch) == (LOOKS_WORSE, None)
    like_the_others = (400, -0.7)
    result = judge_days((*SHUFFLED, like_the_others), rule, eighth.latch)
    assert (result.verdict, result.reason) == (Verdict.FAILED, "ShownWorse")
    assert result.latch == Latch(Verdict.FAILED, 9)


def test_what_looked_worse_by_chance_passes_when_it_recovers_whether_somebody_looked_meanwhile_or_not():
    rule = QualityRule(Decide.UNLESS_WORSE, margin=0.01)
    first = judge_quality(evidence(shifted(-0.04, 7)), rule)
    assert first.reason == LOOKS_WORSE
    recovered = evidence(shifted(-0.04, 7) + shifted(0.04, 7))
    later = judge_quality(recovered, rule, latched=first.latch)
    assert (later.verdict, later.reason) == (Verdict.SUCCESSFUL, "NotShownWorse")
    assert judge_quality(recovered, rule) == later


def test_worse_by_less_than_the_margin_does_not_look_worse():
    differences = shifted(-0.04, 7)
    wide = QualityRule(Decide.UNLESS_WORSE, margin=0.05)
    assert judge_quality(evidence(differences), wide).verdict is Verdict.SUCCESSFUL


@pytest.mark.parametrize("mean", [-0.04, -0.02, 0.0, 0.04])
@pytest.mark.parametrize("blocks", [7, 14, 21])
def test_looking_worse_is_what_the_textbooks_one_sided_t_test_at_ten_percent_says(mean, blocks):
    rule = QualityRule(Decide.UNLESS_WORSE)
    differences = shifted(mean, blocks)
    p_value = stats.ttest_1samp(differences, 0.0, alternative="less").pvalue
    assert rule.looks_worse(sum_blocks(evidence(differences).blocks)) == (p_value < 0.1)


@pytest.mark.parametrize("decide", [Decide.BETTER, Decide.NOT_WORSE])
def test_only_unless_worse_looks_for_a_suspicion(decide):
    result = judge_days(SHUFFLED[:7], QualityRule(decide, margin=0.01))
    assert (result.verdict, result.reason) == (Verdict.INCONCLUSIVE, "NotDecided")


def test_merged_days_look_worse_by_their_units():
    together = [
        mean + noise for mean in (-0.3, 0.1, -0.35, -0.3, 0.1, 0.05, -0.35) for noise in (0.01, -0.01)
    ]
    rule = QualityRule(Decide.UNLESS_WORSE, margin=0.01)
    result = judge_quality(evidence(together), rule)
    merged = merged_blocks(evidence(together), rule)
    assert (merged.size, merged.is_independent) == (2, True)
    assert rule.looks_worse(merged.sums)
    assert result.reason == LOOKS_WORSE


@pytest.mark.parametrize("mean", [0.08, -0.12], ids=["better", "worse"])
def test_a_crossing_stands_whatever_later_blocks_say(mean):
    rule = QualityRule(Decide.BETTER, margin=0.01)
    crossed = judge_quality(evidence(shifted(mean, 14)), rule)
    later = judge_quality(evidence(shifted(mean, 14) + shifted(-mean, 60)), rule)
    assert crossed.latch is not None
    assert (later.verdict, later.latch) == (crossed.verdict, crossed.latch)


def test_a_stored_latch_decides_even_when_the_blocks_are_gone():
    rule = QualityRule(Decide.NOT_WORSE, margin=0.01)
    latch = Latch(Verdict.FAILED, 9)
    assert judge_quality(PairedEvidence(), rule, latched=latch).verdict is Verdict.FAILED


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"blocks": ()}, id="no-blocks"),
        pytest.param({"blocks": tuple(block(i, 0.2 + d) for i, d in enumerate(NOISE[:6]))}, id="six-blocks"),
        pytest.param({"blocks": tuple(block(i, 0.2, count=0) for i in range(20))}, id="empty-blocks"),
    ],
)
def test_too_few_closed_blocks_are_too_early_and_count_towards_no_limit(rule, changes):
    result = judge_quality(evidence(shifted(0.2, 14), **changes), rule)
    assert (result.verdict, result.reason, result.premature) == (
        Verdict.INCONCLUSIVE,
        "TooLittleEvidence",
        True,
    )


@pytest.mark.parametrize("decide", list(Decide))
@pytest.mark.parametrize(
    "minimum", [{"min_requests": 10_000}, {"min_labels": 10_000}, {"min_blocks": 15}], ids=str
)
def test_every_minimum_holds_the_verdict_back(decide, minimum):
    for mean in (0.2, -0.4):
        result = judge_quality(evidence(shifted(mean, 14)), QualityRule(decide, margin=0.01, **minimum))
        assert (result.verdict, result.premature) == (Verdict.INCONCLUSIVE, True)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("mean", [0.2, -0.4], ids=["better", "worse"])
def test_a_verdict_that_lost_payloads_could_bias_is_withheld(rule, mean):
    result = judge_quality(evidence(shifted(mean, 14), lost_share=0.02), rule)
    assert (result.verdict, result.reason, result.latch) == (Verdict.INCONCLUSIVE, "EvidenceLost", None)
    assert not result.premature


@pytest.mark.parametrize("rule", RULES)
def test_low_label_coverage_withholds_the_verdict(rule):
    blocks = tuple(block(i, d, coverage=0.5) for i, d in enumerate(shifted(0.2, 14)))
    result = judge_quality(evidence([], blocks=blocks, paired_requests=9999, labelled_pairs=5600), rule)
    assert (result.verdict, result.reason) == (Verdict.INCONCLUSIVE, "CoverageTooLow")


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_one_block_that_is_not_a_number_makes_no_verdict(rule, poison):
    result = judge_quality(evidence([*shifted(0.2, 14), poison]), rule)
    assert (result.verdict, result.reason) == (Verdict.INCONCLUSIVE, "InvalidEvidence")


@pytest.mark.parametrize("rule", RULES)
def test_an_unknown_lost_share_makes_no_verdict(rule):
    assert judge_quality(evidence(shifted(0.2, 14), lost_share=math.nan), rule).reason == "InvalidEvidence"


@pytest.mark.parametrize("rule", RULES)
def test_a_challenger_that_answers_nan_fails_at_once(rule):
    result = judge_quality(PairedEvidence(nonfinite_answers=1), rule)
    assert (result.verdict, result.reason) == (Verdict.FAILED, "NonFiniteAnswers")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"min_blocks": 6}, "minBlocks"),
        ({"alpha": 0.0}, "alpha"),
        ({"margin": -0.1}, "margin"),
        ({"margin": math.nan}, "margin"),
    ],
)
def test_a_rule_that_cannot_be_valid_names_its_field(changes, field):
    with pytest.raises(InvalidSpecError, match=field):
        QualityRule(Decide.BETTER, **changes)


def test_a_far_plan_waits_until_its_bound_is_finite():
    rule = QualityRule(Decide.UNLESS_WORSE, margin=0.01, planned_blocks=10_000)
    assert rule.least_blocks > 7
    assert judge_quality(evidence(shifted(0.0, 7)), rule).premature


def test_a_result_survives_storage():
    result = judge_quality(evidence(shifted(0.08, 14)), QualityRule(Decide.BETTER))
    assert from_json(type(result), to_json(result)) == result


differences = st.lists(st.floats(-7, 7), min_size=0, max_size=40)
rules = st.builds(
    QualityRule,
    decide=st.sampled_from(Decide),
    margin=st.floats(0, 0.5),
    minimum_effect=st.floats(0, 0.5),
    alpha=st.floats(0.001, 0.2),
    min_blocks=st.integers(7, 20),
    planned_blocks=st.integers(7, 60),
)


@settings(max_examples=150, deadline=None)
@given(differences, rules)
def test_looking_after_every_block_says_the_same_as_looking_once(blocks, rule):
    latch, crossed = None, None
    for seen in range(len(blocks) + 1):
        look = judge_quality(evidence(blocks[:seen]), rule, latched=latch)
        latch = look.latch
        if crossed is not None:
            assert (look.verdict, look.latch) == crossed
        if latch is not None:
            crossed = (look.verdict, latch)
    once = judge_quality(evidence(blocks), rule)
    assert (once.verdict, once.reason, once.latch) == (look.verdict, look.reason, look.latch)


@settings(max_examples=150, deadline=None)
@given(
    differences,
    rules,
    st.sampled_from(["few", "lost", "nan", "requests"]),
    st.one_of(st.none(), st.just(Latch(Verdict.SUCCESSFUL, 8))),
)
def test_nothing_insufficient_ever_promotes(blocks, rule, fault, latch):
    broken = {
        "few": evidence(blocks[: rule.min_blocks - 1]),
        "lost": evidence(blocks, lost_share=rule.max_lost_share * 1.01),
        "nan": evidence([*blocks, math.nan]),
        "requests": evidence(blocks, paired_requests=0) if blocks else evidence(blocks),
    }[fault]
    if fault == "requests":
        rule = QualityRule(rule.decide, margin=rule.margin, min_requests=1, min_blocks=rule.min_blocks)
    assert judge_quality(broken, rule, latched=latch).verdict is not Verdict.SUCCESSFUL


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(-7, 7), st.integers(1, 5000)), min_size=7, max_size=40), st.randoms())
def test_the_interval_does_not_depend_on_the_order_of_blocks(pairs, random):
    blocks = [block(i, d, count=n) for i, (d, n) in enumerate(pairs)]
    mixed = list(blocks)
    random.shuffle(mixed)
    for ours, theirs in zip(sum_blocks(blocks).bounds(0.9), sum_blocks(mixed).bounds(0.9), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-6)


@settings(max_examples=150, deadline=None)
@given(differences.filter(lambda d: len(d) > 7), st.floats(-0.5, 0.5))
def test_bounds_hold_exactly_the_thresholds_that_are_not_rejected(blocks, threshold):
    rule = QualityRule(Decide.BETTER)
    sums, radius = sum_blocks(evidence(blocks).blocks), rule.radius(len(blocks))
    lower, upper = sums.bounds(radius)
    if min(abs(lower - threshold), abs(upper - threshold)) > 1e-6:
        assert sums.is_above(threshold, radius) == (lower > threshold)
        assert sums.is_below(threshold, radius) == (upper < threshold)


@settings(max_examples=100, deadline=None)
@given(differences.filter(lambda d: len(d) > 7), rules)
def test_swapping_the_models_swaps_better_and_worse(blocks, rule):
    fair = QualityRule(Decide.BETTER, alpha=rule.alpha, min_blocks=rule.min_blocks)
    ours = judge_quality(evidence(blocks), fair).verdict
    theirs = judge_quality(evidence([-d for d in blocks]), fair).verdict
    mirror = {Verdict.SUCCESSFUL: Verdict.FAILED, Verdict.FAILED: Verdict.SUCCESSFUL}
    assert theirs is mirror.get(ours, ours)


def test_while_no_block_closes_though_labels_came_it_says_what_a_block_waits_for():
    waiting = PairedEvidence((), paired_requests=900, labelled_pairs=790)
    told = judge_quality(waiting, QualityRule(Decide.NOT_WORSE, margin=0.01))
    assert told.verdict is Verdict.INCONCLUSIVE
    assert told.message == (
        "too early to judge: 0 of 7 closed blocks, a block closes once 98% of its labels are in, or when none may "
        "come any more; 790 of 900 pairs have one"
    )
    none = judge_quality(PairedEvidence((), paired_requests=900), QualityRule(Decide.NOT_WORSE, margin=0.01))
    assert "closes" not in none.message
