"""Verdicts on arms of an experiment: who wins, what freezes it, what withholds it, and what the sentence says."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from capstan.domain.verdicts.analysis import AnalysisResult, Latch, Verdict
from capstan.domain.verdicts.arm_effects import covariate_of, day_blocks
from capstan.domain.verdicts.arms import ArmsRule, bounds_of, judge_arms, judge_guardrail
from capstan.domain.verdicts.confidence import two_sided_radius
from capstan.domain.verdicts.evidence import ArmDay, ArmsEvidence, ArmSums
from capstan.domain.verdicts.experiments import Better, Test
from capstan.domain.verdicts.quality import LOOKS_WORSE, NOT_DECIDED, Decide
from capstan.domain.versions import VersionName
from capstan.evaluation.experiments.effects import mann_whitney as by_rank
from capstan.evaluation.experiments.effects import without_covariate
from capstan.recording.arm_ranks import RankTally

Floats = npt.NDArray[np.float64]
V1, V2, V3 = (VersionName(name) for name in ("v1", "v2", "v3"))
HALVES, THIRDS = {V1: 50, V2: 50}, {V1: 34, V2: 33, V3: 33}
START = datetime(2013, 6, 1, tzinfo=UTC)
HIGHER = ArmsRule("revenue", Better.HIGHER)


def sums(values: Floats, covariate: Floats | None = None, *, waiting: int = 0) -> ArmSums:
    """Of closed units with these outcomes; NaN is an outcome that is missing, or a covariate that is not known."""
    given = values[np.isfinite(values)]
    found = ArmSums(
        assigned=len(values) + waiting,
        closed=len(values),
        units=len(given),
        total=math.fsum(given),
        squares=math.fsum(given**2),
        cubes=math.fsum(given**3),
    )
    if covariate is None:
        return found
    both = np.isfinite(values) & np.isfinite(covariate)
    x, y = covariate[both], values[both]
    return replace(
        found,
        covariate_known=int(both.sum()),
        covariate=math.fsum(x),
        covariate_squares=math.fsum(x**2),
        products=math.fsum(x * y),
        covariate_total=math.fsum(y),
    )


def evidence(**arms: ArmSums) -> ArmsEvidence:
    return ArmsEvidence((ArmDay(START, {VersionName(name): found for name, found in arms.items()}),))


def drawn(mean: float, units: int = 2000, seed: int = 1, deviation: float = 1.0) -> Floats:
    """Values whose mean and standard deviation are exactly these."""
    raw = np.random.default_rng(seed).normal(size=units)
    return mean + deviation * (raw - raw.mean()) / raw.std(ddof=1)


def judged(difference: float, rule: ArmsRule = HIGHER, latched: Latch | None = None) -> AnalysisResult:
    found = evidence(v1=sums(drawn(1.0)), v2=sums(drawn(1.0 + difference, seed=2)))
    return judge_arms(found, rule, HALVES, latched=latched)


def test_an_arm_that_is_shown_better_wins_and_the_sentence_tells_what_may_have_been_missed() -> None:
    result = judged(0.3)
    assert (result.verdict, result.reason, result.arm) == (Verdict.SUCCESSFUL, "ShownBetter", "v2")
    assert result.latch == Latch(Verdict.SUCCESSFUL, 4000, arm="v2")
    assert "Better by AlwaysValid at 0.05 at any look: v2 was shown better by more than 0" in result.message
    assert "revenue of v2 against v1 +0.3 per unit over 4,000 units" in result.message
    assert "the true gain may be as small as 0.2038" in result.message


def test_the_first_crossing_stands_whatever_comes_later() -> None:
    won, lost = judged(0.3).latch, judged(-0.3).latch
    assert judged(-0.02, latched=won).verdict is Verdict.SUCCESSFUL
    assert judged(0.02, latched=lost).verdict is Verdict.FAILED


def test_bounds_are_those_of_the_t_mixture_of_the_pooled_variance() -> None:
    found = evidence(v1=sums(drawn(1.0, 3600)), v2=sums(drawn(1.1, 400, seed=2, deviation=2.0)))
    bounds = bounds_of(found, HIGHER, V1, V2, covariate_of([]))
    radius = (
        two_sided_radius(4000, planned_units=5000, alpha=0.05)
        * math.sqrt(4000)
        * math.sqrt(1 / 3600 + 4 / 400)
    )
    assert bounds.lower == pytest.approx(0.1 - radius)
    assert bounds.upper == pytest.approx(0.1 + radius)


@pytest.mark.parametrize("decide", list(Decide))
def test_less_is_better_where_the_metric_says_so(decide: Decide) -> None:
    rule = ArmsRule("logLoss", Better.LOWER, decide, margin=0.05)
    assert judged(-0.3, rule).verdict is Verdict.SUCCESSFUL
    assert judged(0.3, rule).verdict is Verdict.FAILED


def test_not_worse_passes_an_equal_arm_once_the_margin_is_out_of_reach() -> None:
    rule = replace(HIGHER, decide=Decide.NOT_WORSE, margin=0.15)
    assert judged(0.0, rule).reason == "ShownNotWorse"
    assert judged(0.0, replace(rule, margin=0.01)).reason == NOT_DECIDED


def test_unless_worse_says_that_it_is_a_choice_of_risk_and_latches_nothing() -> None:
    result = judged(-0.02, replace(HIGHER, decide=Decide.UNLESS_WORSE))
    assert (result.verdict, result.latch) == (Verdict.SUCCESSFUL, None)
    assert "a choice of risk, not a proof: a v2 truly worse by up to 0.1" in result.message


def test_unless_worse_waits_while_the_arm_looks_worse() -> None:
    rule = replace(HIGHER, decide=Decide.UNLESS_WORSE)
    # The standard error is 0.0316: twice that is no crossing, but an ordinary test calls it worse.
    result = judged(-0.0632, rule)
    assert (result.verdict, result.reason, result.latch) == (Verdict.INCONCLUSIVE, LOOKS_WORSE, None)
    assert (
        "v2 looks worse by more than 0, not yet shown (an ordinary t test at 10% says so)" in result.message
    )
    assert judged(-0.0632, replace(rule, margin=0.05)).verdict is Verdict.SUCCESSFUL


def test_whole_days_of_an_experiment_look_worse_by_the_days() -> None:
    rule = replace(HIGHER, decide=Decide.UNLESS_WORSE, by_days=True, min_units=100)
    noise = (0.03, -0.05, 0.06, -0.02, 0.01, -0.04, 0.05, 0.0)
    days = []
    for number, off in enumerate(noise):
        arms = {V1: sums(drawn(1.0, 100, seed=number)), V2: sums(drawn(0.96 + off, 100, seed=number + 50))}
        days.append(ArmDay(START + timedelta(days=number), arms))
    result = judge_arms(ArmsEvidence(tuple(days)), rule, HALVES)
    assert (result.verdict, result.reason, result.closed_blocks) == (Verdict.INCONCLUSIVE, LOOKS_WORSE, 7)


def test_the_one_look_of_a_fixed_horizon_decides_by_its_own_level() -> None:
    rule = replace(HIGHER, decide=Decide.UNLESS_WORSE, test=Test.WELCH)
    assert judged(-0.045, rule).verdict is Verdict.SUCCESSFUL
    assert judged(-0.0632, rule).verdict is Verdict.FAILED


def test_of_several_arms_the_better_one_wins_at_a_share_of_alpha() -> None:
    arms = evidence(
        v1=sums(drawn(1.0, 2040)), v2=sums(drawn(1.2, 1980, seed=2)), v3=sums(drawn(1.3, 1980, seed=3))
    )
    rule = replace(HIGHER, comparisons=2)
    result = judge_arms(arms, rule, THIRDS)
    assert (result.verdict, result.arm) == (Verdict.SUCCESSFUL, "v3")
    assert "(alpha/2 each)" in result.message
    alone = bounds_of(arms, HIGHER, V1, V3, covariate_of([]))
    shared = bounds_of(arms, rule, V1, V3, covariate_of([]))
    assert shared.lower < alone.lower


def test_one_bad_arm_of_several_ends_nothing_and_all_of_them_do() -> None:
    bad, good = sums(drawn(0.7, 1980, seed=2)), sums(drawn(1.0, 1980, seed=3))
    control = sums(drawn(1.0, 2040))
    rule = replace(HIGHER, comparisons=2)
    assert judge_arms(evidence(v1=control, v2=bad, v3=good), rule, THIRDS).verdict is Verdict.INCONCLUSIVE
    both = judge_arms(evidence(v1=control, v2=bad, v3=bad), rule, THIRDS)
    assert (both.verdict, both.latch is not None) == (Verdict.FAILED, True)


def test_arms_of_the_wrong_sizes_freeze_the_verdict_for_good() -> None:
    wrong = evidence(v1=sums(drawn(1.0, 2300)), v2=sums(drawn(1.5, 1700, seed=2)))
    result = judge_arms(wrong, HIGHER, HALVES)
    assert (result.verdict, result.reason) == (Verdict.INCONCLUSIVE, "SampleRatioMismatch")
    assert result.latch is not None
    assert result.latch.verdict is Verdict.INCONCLUSIVE
    later = judged(0.5, latched=result.latch)
    assert (later.verdict, later.arm) == (Verdict.INCONCLUSIVE, "")
    assert "frozen at 4,000 units, the experiment is invalid (SampleRatioMismatch)" in later.message


def test_a_mismatch_also_takes_back_what_was_won_before() -> None:
    wrong = evidence(v1=sums(drawn(1.0, 2300)), v2=sums(drawn(1.5, 1700, seed=2)))
    assert judge_arms(wrong, HIGHER, HALVES, latched=judged(0.3).latch).verdict is Verdict.INCONCLUSIVE


def test_labels_that_one_arm_lacks_freeze_the_verdict() -> None:
    lacking = drawn(1.5, 2000, seed=2)
    lacking[:400] = np.nan
    found = evidence(v1=sums(drawn(1.0)), v2=sums(lacking))
    result = judge_arms(found, replace(HIGHER, min_coverage=0.5), HALVES)
    assert (result.verdict, result.reason) == (Verdict.INCONCLUSIVE, "OutcomesMissing")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"lost_share": 0.02}, "EvidenceLost"),
        ({"nonfinite_answers": {V2: 3}}, "NonFiniteAnswers"),
        ({"lost_share": math.nan}, "InvalidEvidence"),
        ({"crossed": 100}, "CrossedUnits"),
    ],
)
def test_broken_evidence_promotes_nobody(change: dict[str, object], reason: str) -> None:
    found = evidence(v1=sums(drawn(1.0)), v2=sums(drawn(1.5, seed=2)))
    result = judge_arms(replace(found, **change), HIGHER, HALVES, latched=judged(0.3).latch)  # type: ignore[arg-type]
    assert (result.verdict, result.reason) == (Verdict.INCONCLUSIVE, reason)


def test_outcomes_that_are_no_numbers_are_no_evidence() -> None:
    found = evidence(v1=sums(drawn(1.0)), v2=replace(sums(drawn(1.5, seed=2)), total=math.inf))
    assert judge_arms(found, HIGHER, HALVES).reason == "InvalidEvidence"


def test_too_few_units_are_premature_and_closed_ones_alone_count() -> None:
    found = evidence(v1=sums(drawn(1.0, 100), waiting=900), v2=sums(drawn(3.0, 100, seed=2), waiting=900))
    result = judge_arms(found, HIGHER, HALVES)
    assert (result.verdict, result.premature) == (Verdict.INCONCLUSIVE, True)
    assert "200 of 500 units of v1 and v2" in result.message


def test_too_few_outcomes_withhold_a_verdict_on_a_loss() -> None:
    values = drawn(1.0, 2000)
    values[: len(values) // 2] = np.nan
    other = drawn(2.0, 2000, seed=2)
    other[: len(other) // 2] = np.nan
    result = judge_arms(evidence(v1=sums(values), v2=sums(other)), replace(HIGHER, min_coverage=0.8), HALVES)
    assert (result.reason, result.premature) == ("CoverageTooLow", False)


def test_skewed_outcomes_in_unequal_arms_wait_for_more_units() -> None:
    rng = np.random.default_rng(5)
    control, arm = rng.binomial(1, 0.01, size=1800) * 1.0, rng.binomial(1, 0.04, size=200) * 1.0
    found = evidence(v1=sums(control), v2=sums(arm))
    result = judge_arms(found, HIGHER, {V1: 90, V2: 10})
    assert result.premature
    assert "so skewed (skewness" in result.message


def test_the_one_look_of_a_fixed_horizon_is_welchs_and_no_later_one_counts() -> None:
    rule = replace(HIGHER, test=Test.WELCH)
    a, b = drawn(1.0), drawn(1.05, seed=2)
    bounds = bounds_of(evidence(v1=sums(a), v2=sums(b)), rule, V1, V2, covariate_of([]))
    interval = stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.95)
    assert (bounds.lower, bounds.upper) == pytest.approx((interval.low, interval.high))
    looked = judged(0.05, rule)
    assert (looked.verdict, looked.reason) == (Verdict.INCONCLUSIVE, NOT_DECIDED)
    later = judged(0.5, rule, latched=looked.latch)
    assert (later.verdict, later.reason) == (Verdict.INCONCLUSIVE, NOT_DECIDED)
    assert "its one look, at 4,000 units, did not decide" in later.message


RANKED = replace(HIGHER, test=Test.MANN_WHITNEY)


def ranked(control: Floats, arm: Floats) -> ArmsEvidence:
    tally = RankTally(2)
    for number, values in enumerate((control, arm)):
        tally.add(np.full(len(values), number), values)
    found = tally.against_first(1)
    assert found is not None
    return replace(evidence(v1=sums(control), v2=sums(arm)), ranks={V2: found})


def heavy(units: int, times: float, seed: int) -> Floats:
    """Outcomes of which a few are huge."""
    return times * np.random.default_rng(seed).lognormal(0, 2.5, units)


def test_ranks_find_what_a_few_huge_outcomes_hide_from_means() -> None:
    found = ranked(heavy(2000, 1.0, 1), heavy(2000, 1.3, 2))
    by_mean = judge_arms(found, replace(HIGHER, test=Test.WELCH), HALVES)
    assert by_mean.verdict is Verdict.INCONCLUSIVE
    result = judge_arms(found, RANKED, HALVES)
    assert (result.verdict, result.reason, result.arm) == (Verdict.SUCCESSFUL, "ShownBetter", "v2")
    assert "Better by MannWhitney at 0.05 at one look, fixed beforehand" in result.message
    assert "of the pairs of units above one half" in result.message
    lower = judge_arms(found, replace(RANKED, better=Better.LOWER), HALVES)
    assert (lower.verdict, lower.reason) == (Verdict.FAILED, "ShownWorse")


def test_ranks_are_taken_at_alpha_shared_by_the_arms_and_by_one_bound_where_one_decides() -> None:
    control, arm = heavy(400, 1.0, 1), heavy(400, 1.3, 2)
    rule = replace(RANKED, comparisons=2)
    pairs = {Decide.BETTER: 0.025, Decide.NOT_WORSE: 0.05}
    for decide, alpha in pairs.items():
        bounds = bounds_of(ranked(control, arm), replace(rule, decide=decide), V1, V2, covariate_of([]))
        expected = by_rank(control, arm, alpha=alpha)
        assert (bounds.lower, bounds.upper) == pytest.approx((expected.lower, expected.upper))


def test_outcomes_that_were_not_ranked_promote_nobody() -> None:
    found = replace(ranked(heavy(2000, 1.0, 1), heavy(2000, 9.0, 2)), ranks={})
    assert judge_arms(found, RANKED, HALVES).reason == "TooLittleEvidence"
    result = judge_arms(replace(found, too_many_values=True), RANKED, HALVES)
    assert (result.verdict, result.reason) == (Verdict.INCONCLUSIVE, "TooManyValues")
    assert "test: FixedHorizon compares their means" in result.message


def test_the_covariate_from_sums_is_that_from_units() -> None:
    rng = np.random.default_rng(8)
    x = [rng.normal(3, 1, size=1500), rng.normal(3, 1, size=1500)]
    y = [2 + 0.9 * x[0] + rng.normal(size=1500), 2.2 + 0.9 * x[1] + rng.normal(size=1500)]
    x[0][:100] = np.nan
    arms = [sums(outcome, before) for outcome, before in zip(y, x, strict=True)]
    found = covariate_of(arms)
    values, slope = without_covariate(np.concatenate(y), np.concatenate(x), np.repeat([0, 1], 1500), 2)
    assert found.slope == pytest.approx(slope)
    for place, arm in enumerate(arms):
        own = values[place * 1500 : (place + 1) * 1500]
        moments = found.moments(arm)
        # Both centre the covariate alike, so that means agree up to nothing but rounding.
        assert moments.mean == pytest.approx(own.mean())
        assert moments.variance == pytest.approx(own.var(ddof=1))
    assert 0.3 < found.explained < 0.6


def test_a_covariate_makes_the_bounds_narrower() -> None:
    rng = np.random.default_rng(9)
    x = [rng.normal(size=2000), rng.normal(size=2000)]
    y = [x[0] + 0.3 * rng.normal(size=2000), 0.05 + x[1] + 0.3 * rng.normal(size=2000)]
    found = evidence(v1=sums(y[0], x[0]), v2=sums(y[1], x[1]))
    plain, adjusted = (judge_arms(found, replace(HIGHER, has_covariate=has), HALVES) for has in (False, True))
    assert plain.verdict is Verdict.INCONCLUSIVE
    assert adjusted.verdict is Verdict.SUCCESSFUL
    assert "the covariate takes away 9" in adjusted.message


def many_days(differences: Floats, units: int = 200) -> ArmsEvidence:
    """Days on which the arm is that much better, and an unfinished one."""
    days = [
        ArmDay(
            START + timedelta(days=day),
            {V1: sums(drawn(1.0, units, day)), V2: sums(drawn(1.0 + difference, units, 1000 + day))},
        )
        for day, difference in enumerate([*differences, 9.0])
    ]
    return ArmsEvidence(tuple(days))


def test_days_are_the_units_of_the_test_where_asked_for() -> None:
    rng = np.random.default_rng(3)
    found = many_days(rng.normal(0.5, 0.1, size=14))
    result = judge_arms(found, replace(HIGHER, by_days=True), HALVES)
    assert result.verdict is Verdict.SUCCESSFUL
    assert result.numbers["blocks"] == 14
    assert "in 14 day blocks (lag-1 autocorrelation of days" in result.message
    few = judge_arms(many_days(np.full(5, 0.5)), replace(HIGHER, by_days=True), HALVES)
    assert few.premature


def test_days_that_go_together_are_merged_to_the_shortest_blocks_that_do_not() -> None:
    rng = np.random.default_rng(4)
    noise = np.repeat(rng.normal(0, 0.2, size=20), 3)
    blocks = day_blocks(many_days(noise), V1, V2, covariate_of([]), sign=1)
    assert blocks.single > 0.4
    assert blocks.size >= 2
    assert blocks.is_independent
    assert blocks.sums.blocks == 60 // blocks.size


@pytest.mark.parametrize("decide", list(Decide))
def test_nothing_is_decided_while_days_go_together_however_many_are_merged(decide: Decide) -> None:
    """Each day is worse than the day before; a guardrail, which is UnlessWorse, does not hold by them either."""
    found = many_days(-0.2 - 0.1 * np.arange(10))
    rule = replace(HIGHER, by_days=True, decide=decide)
    for result in (judge_arms(found, rule, HALVES), judge_guardrail(found, rule, V1, V2)):
        assert (result.verdict, result.premature) == (Verdict.INCONCLUSIVE, True)
        assert "days of v2 go together however many are merged (lag-1 autocorrelation" in result.message


def test_a_winner_stays_one_when_later_days_go_together() -> None:
    latch = Latch(Verdict.SUCCESSFUL, 3000, arm=V2)
    found = many_days(0.2 + 0.1 * np.arange(10))
    result = judge_arms(found, replace(HIGHER, by_days=True), HALVES, latched=latch)
    assert (result.verdict, result.arm, result.latch) == (Verdict.SUCCESSFUL, V2, latch)
    assert "days of v2 go together however many are merged" in result.message
    assert "of 7 are there" not in result.message


def test_what_no_days_bound_does_not_pass_unless_worse() -> None:
    """One day has ten times the units of the others, so that the bounds of seven days are open."""
    rng = np.random.default_rng(1)
    days = many_days(rng.normal(0.0, 0.1, size=7)).days
    large = many_days(np.zeros(1), units=4000).days[0].arms
    found = ArmsEvidence((replace(days[0], arms=large), *days[1:]))
    rule = replace(HIGHER, by_days=True, decide=Decide.UNLESS_WORSE)
    for result in (judge_arms(found, rule, HALVES), judge_guardrail(found, rule, V1, V2)):
        assert (result.verdict, result.premature) == (Verdict.INCONCLUSIVE, True)
        assert "7 days or groups of days of v2 bound no difference yet" in result.message


def guarded(difference: float, latched: Latch | None = None) -> AnalysisResult:
    rule = ArmsRule("complaints", Better.LOWER, Decide.UNLESS_WORSE, margin=0.05, comparisons=2)
    found = evidence(v1=sums(drawn(1.0)), v2=sums(drawn(1.0 + difference, seed=2)))
    return judge_guardrail(found, rule, V1, V2, latched=latched)


def test_a_guardrail_alarms_beyond_its_margin_and_stays_alarmed() -> None:
    assert guarded(0.05).reason == "GuardrailHolds"
    assert guarded(0.1).reason == "GuardrailHolds", "it looks worse by an ordinary test, which is no alarm"
    alarm = guarded(0.3)
    assert (alarm.verdict, alarm.reason) == (Verdict.FAILED, "GuardrailAlarm")
    assert "guardrail at 0.05/2: v2 is shown worse by more than 0.05" in alarm.message
    assert guarded(0.0, alarm.latch).verdict is Verdict.FAILED


def test_a_guardrail_without_units_does_not_pass() -> None:
    rule = ArmsRule("complaints", Better.LOWER, Decide.UNLESS_WORSE)
    result = judge_guardrail(ArmsEvidence(), rule, V1, V2)
    assert (result.verdict, result.premature) == (Verdict.INCONCLUSIVE, True)
    one_arm_alone = evidence(v1=sums(drawn(1.0, 9000)), v2=sums(drawn(1.0, 1)))
    result = judge_guardrail(one_arm_alone, rule, V1, V2)
    assert (result.verdict, result.premature) == (Verdict.INCONCLUSIVE, True)


def test_equal_arms_are_called_different_in_at_most_alpha_of_experiments_however_often_one_looks() -> None:
    """Two hundred experiments of 6,000 skewed units, a look at every 250: a fixed t-test would err in a quarter."""
    rng = np.random.default_rng(11)
    rule, fixed = replace(HIGHER, planned_units=3000), replace(HIGHER, test=Test.WELCH)
    called = peeked = 0
    for _ in range(200):
        values = rng.exponential(size=(2, 3000))
        totals = np.stack([np.cumsum(values**power, axis=1) for power in (1, 2, 3)])
        seen = naive = False
        for n in range(250, 3001, 125):
            arms = {
                version: ArmSums(n, n, n, *(float(totals[power, place, n - 1]) for power in range(3)))
                for place, version in enumerate((V1, V2))
            }
            result = judge_arms(ArmsEvidence((ArmDay(START, arms),)), rule, HALVES)
            seen = seen or result.reason in ("ShownBetter", "ShownWorse")
            once = bounds_of(
                evidence(**{str(v): a for v, a in arms.items()}), fixed, V1, V2, covariate_of([])
            )
            naive = naive or once.lower > 0 or once.upper < 0
        called, peeked = called + seen, peeked + naive
    assert called <= 0.05 * 200
    assert peeked >= 0.15 * 200


def test_what_nothing_bounds_is_said_to_be_unknown_with_what_is_waited_for() -> None:
    same = evidence(v1=sums(np.zeros(400)), v2=sums(np.zeros(300)))
    result = judge_arms(same, HIGHER, HALVES)
    assert result.reason == NOT_DECIDED
    assert "inf" not in result.message
    assert result.message.endswith(
        "not decided; nothing is known yet of revenue of v2 against v1: outcomes of its 700 units are all alike or too "
        "skewed, waits for units that differ"
    )
    one_known = evidence(
        v1=sums(drawn(1.0)), v2=sums(drawn(1.0, seed=2)), v3=sums(np.r_[1.0, np.full(1999, np.nan)])
    )
    early = judge_arms(one_known, HIGHER, THIRDS)
    assert (early.reason, early.premature) == ("TooLittleEvidence", True)
    assert "0 of 500 units of v1 and v3 (with an outcome 2,000 and 1; each needs 2)" in early.message


def test_units_that_cannot_be_ranked_are_not_said_to_be_fewer_than_they_are() -> None:
    unranked = evidence(v1=sums(drawn(1.0, 900)), v2=sums(drawn(1.0, 900, seed=2)))
    result = judge_arms(unranked, replace(HIGHER, test=Test.MANN_WHITNEY), HALVES)
    assert result.message.endswith("0 of 500 units of v1 and v2")


def test_a_guardrail_and_a_choice_of_risk_do_not_tell_infinite_harm() -> None:
    same = evidence(v1=sums(np.zeros(400)), v2=sums(np.zeros(300)))
    rule = replace(HIGHER, decide=Decide.UNLESS_WORSE)
    guarded, chosen = judge_guardrail(same, rule, V1, V2), judge_arms(same, rule, HALVES)
    for result in (guarded, chosen):
        assert "inf" not in result.message
        assert "nothing bounds yet how much worse v2 may be" in result.message


def test_few_days_are_told_as_what_is_waited_for() -> None:
    found = many_days(np.full(5, 0.5))
    latched = Latch(Verdict.FAILED, 900)
    result = judge_arms(found, replace(HIGHER, by_days=True), HALVES, latched=latched)
    assert "waits for closed days, of which 5 of 7 are there" in result.message
