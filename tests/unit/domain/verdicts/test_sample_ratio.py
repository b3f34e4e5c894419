"""Traffic that was divided otherwise than wanted, FAULTS rows 15 and 31."""

import itertools
import math

import numpy as np
import pytest

from capstan.domain.verdicts.analysis import AnalysisResult, Latch, Verdict
from capstan.domain.verdicts.sample_ratio import (
    Stratum,
    freeze_on_mismatch,
    judge_sample_ratio,
    judge_split,
    log_mismatch,
    log_stratified_mismatch,
)

EVEN = {"v1": 50, "v2": 50}


@pytest.mark.parametrize(("strength", "expected"), [(1e4, 3.65388), (1e3, 6.07582)])
def test_the_dirichlet_test_has_its_golden_values(strength, expected):
    found = log_mismatch({"v1": 5200, "v2": 4800}, {"v1": 0.5, "v2": 0.5}, strength=strength)
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_mismatch_invalidates_the_experiment_and_stays():
    alarm = judge_sample_ratio({"v1": 5300, "v2": 4700}, EVEN)
    assert (alarm.verdict, alarm.reason) == (Verdict.FAILED, "SampleRatioMismatch")
    recovered = judge_sample_ratio({"v1": 50_000, "v2": 50_000}, EVEN, latched=alarm.latch)
    assert (recovered.verdict, recovered.latch) == (Verdict.FAILED, alarm.latch)


def test_52_to_48_of_ten_thousand_is_not_yet_an_alarm_at_a_thousandth():
    assert judge_sample_ratio({"v1": 5200, "v2": 4800}, EVEN).verdict is Verdict.SUCCESSFUL
    assert judge_sample_ratio({"v1": 5200, "v2": 4800}, EVEN, alpha=0.01).verdict is Verdict.FAILED


def test_users_of_an_arm_that_should_have_none_are_a_mismatch():
    assert judge_sample_ratio({"v1": 500, "v2": 500, "v0": 3}, EVEN).verdict is Verdict.FAILED


def test_a_verdict_is_frozen_by_a_mismatch_with_the_reason_shown():
    alarm = judge_sample_ratio({"v1": 5300, "v2": 4700}, EVEN)
    won = AnalysisResult(Verdict.SUCCESSFUL, "ShownBetter", "better", latch=Latch(Verdict.SUCCESSFUL, 9))
    frozen = freeze_on_mismatch(won, alarm)
    assert (frozen.verdict, frozen.reason, frozen.latch) == (
        Verdict.INCONCLUSIVE,
        "SampleRatioMismatch",
        won.latch,
    )
    assert "v1 got 5,300 (53.0%, wanted 50.0%)" in frozen.message
    assert freeze_on_mismatch(won, judge_sample_ratio({"v1": 500, "v2": 500}, EVEN)) == won


def test_no_users_prove_nothing():
    result = judge_sample_ratio({}, EVEN)
    assert (result.verdict, result.premature) == (Verdict.INCONCLUSIVE, True)


SPLITS = [
    pytest.param({"v1": 750, "v2": 250}, {"v1": 75, "v2": 25}, "TrafficSplitObeyed", id="obeyed"),
    pytest.param(
        {"v1": 800, "v2": 200}, {"v1": 75, "v2": 25}, "TrafficSplitObeyed", id="sticky-keys-come-in-groups"
    ),
    pytest.param(
        {"v1": 1000, "v2": 0}, {"v1": 75, "v2": 25}, "TrafficSplitNotObeyed", id="all-to-the-champion"
    ),
    pytest.param({"v1": 1000}, {"v1": 95, "v2": 5}, "TrafficSplitNotObeyed", id="arm-never-routed"),
    pytest.param(
        {"v1": 500, "v2": 500}, {"v1": 75, "v2": 25}, "TrafficSplitNotObeyed", id="weights-of-another-step"
    ),
    pytest.param(
        {"v1": 900, "v2": 100}, {"v1": 100, "v2": 0}, "TrafficSplitNotObeyed", id="traffic-without-weight"
    ),
    pytest.param({"v1": 995, "v2": 5}, {"v1": 100, "v2": 0}, "TrafficSplitObeyed", id="draining"),
    pytest.param({"v1": 90, "v2": 0}, {"v1": 75, "v2": 25}, "TooFewRequests", id="too-early"),
    pytest.param({}, {"v1": 75, "v2": 25}, "TooFewRequests", id="no-traffic"),
    pytest.param({"v1": 900}, {}, "NoWantedSplit", id="no-weights-yet"),
    pytest.param({"v1": -5, "v2": 900}, {"v1": 75, "v2": 25}, "InvalidEvidence", id="negative"),
]


@pytest.mark.parametrize(("assigned", "weights", "reason"), SPLITS)
def test_observed_traffic_is_tested_against_the_wanted_split(assigned, weights, reason):
    result = judge_split(assigned, weights)
    assert result.reason == reason
    # The challenger is not to blame for a gateway that does not obey: it holds, it never fails.
    assert result.verdict is (Verdict.SUCCESSFUL if reason == "TrafficSplitObeyed" else Verdict.INCONCLUSIVE)
    assert all(math.isfinite(number) for number in result.numbers.values())


def stratum(counts: tuple[int, ...], shares: tuple[float, ...]) -> Stratum:
    names = [f"v{place}" for place in range(1, len(shares) + 1)]
    return Stratum(dict(zip(names, counts, strict=True)), dict(zip(names, shares, strict=True)))


def test_under_the_wanted_shares_the_stratified_test_expects_1_exactly():
    """Over all counts that two strata of three arms may have, the second of which leaves an arm out."""
    expected = 0.0
    for first in itertools.product(range(5), repeat=3):
        for second in range(4):
            if sum(first) != 4:
                continue
            strata = [
                stratum(first, (0.2, 0.3, 0.5)),
                Stratum({"v1": second, "v3": 3 - second}, {"v1": 0.1, "v3": 0.9}),
            ]
            chance = math.comb(3, second) * 0.1**second * 0.9 ** (3 - second)
            chance *= math.factorial(4) / math.prod(math.factorial(count) for count in first)
            chance *= 0.2 ** first[0] * 0.3 ** first[1] * 0.5 ** first[2]
            expected += chance * math.exp(log_stratified_mismatch(strata))
    assert expected == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("strata", [1, 10, 100])
def test_shares_that_follow_the_units_are_called_wrong_no_oftener_than_allowed(strata):
    """Looked at after every stratum, of which each has the shares that make the last one's surplus larger, at 5 %."""
    rng = np.random.default_rng(31)
    runs, alarms = 300, 0
    looks = max(strata // 10, 1)
    for _ in range(runs):
        seen: list[Stratum] = []
        share = 0.5
        for number in range(1, strata + 1):
            count = int(rng.binomial(2000 // strata, share))
            seen.append(stratum((count, 2000 // strata - count), (share, 1 - share)))
            share = 0.9 if count > share * (2000 // strata) else 0.2
            if number % looks == 0 and log_stratified_mismatch(seen) >= math.log(20):
                alarms += 1
                break
    assert alarms / runs <= 0.05


@pytest.mark.parametrize("strata", [1, 10, 2000])
def test_odds_that_are_off_by_a_fifth_are_found_however_many_strata_there_are(strata):
    """20,000 units: the product of the strata's own factors finds nothing in 2,000 of them, e being 1.8."""
    rng = np.random.default_rng(32)
    seen = []
    for wanted in rng.uniform(0.05, 0.95, strata) if strata > 1 else [0.5]:
        odds = 1.2 * wanted / (1 - wanted)
        count = int(rng.binomial(20_000 // strata, odds / (1 + odds)))
        seen.append(stratum((count, 20_000 // strata - count), (wanted, 1 - wanted)))
    assert log_stratified_mismatch(seen) > 20
    if strata == 2000:
        assert sum(log_mismatch(one.counts, one.shares) for one in seen) < 1


def test_one_stratum_is_found_by_at_most_a_factor_of_two_later():
    counts, shares = {"v1": 5200, "v2": 4800}, {"v1": 0.5, "v2": 0.5}
    alone = log_mismatch(counts, shares)
    assert log_stratified_mismatch([Stratum(counts, shares)]) >= alone - math.log(2)
    assert log_stratified_mismatch([]) == 0
