"""What operation may and may not say about a challenger."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from capstan.domain.verdicts.analysis import Verdict
from capstan.domain.verdicts.evidence import OperationEvidence, VersionOperation
from capstan.domain.verdicts.excess import log_excess_e_value
from capstan.domain.verdicts.guardrails import OperationPolicy, judge_operation, quantile
from capstan.domain.versions import VersionName

BOUNDS = [0.0005 * 1.5**k for k in range(27)] + [math.inf]
ERRORS_ONLY = OperationPolicy(max_latency_ratio=None)


def operation(name, requests, errors=0, latencies=None):
    if latencies is None:
        latencies = [0.005] * requests
    buckets = {bound: int(sum(latency <= bound for latency in latencies)) for bound in BOUNDS}
    return VersionOperation(VersionName(name), requests, errors, buckets)


def against(champion, challenger):
    return OperationEvidence(champion=champion, challenger=challenger)


HEALTHY = operation("v1", 500)

ERRORS = [
    pytest.param(500, 0, Verdict.SUCCESSFUL, "GuardrailsHold", id="no-errors"),
    pytest.param(500, 4, Verdict.SUCCESSFUL, "GuardrailsHold", id="below-the-limit"),
    pytest.param(3, 3, Verdict.FAILED, "ErrorRateTooHigh", id="all-of-three-fails-before-the-minimum"),
    pytest.param(2, 2, Verdict.INCONCLUSIVE, "TooFewRequests", id="two-of-two-waits-for-the-third"),
    pytest.param(50, 1, Verdict.INCONCLUSIVE, "TooFewRequests", id="one-in-fifty-is-noise"),
    pytest.param(
        100, 2, Verdict.INCONCLUSIVE, "ErrorRateTooHighUnclear", id="two-in-hundred-could-be-chance"
    ),
    pytest.param(200, 20, Verdict.FAILED, "ErrorRateTooHigh", id="one-in-ten"),
    pytest.param(0, 0, Verdict.INCONCLUSIVE, "TooFewRequests", id="no-traffic"),
]


@pytest.mark.parametrize(("requests", "errors", "verdict", "reason"), ERRORS)
def test_error_rate_fails_by_evidence_and_not_by_noise(requests, errors, verdict, reason):
    result = judge_operation(against(HEALTHY, operation("v2", requests, errors)), OperationPolicy())
    assert (result.verdict, result.reason) == (verdict, reason)
    assert result.premature is (verdict is Verdict.INCONCLUSIVE)


def test_the_message_names_numbers_limit_and_the_champion():
    result = judge_operation(against(HEALTHY, operation("v2", 200, 20)), ERRORS_ONLY)
    assert result.message == "20 of 200 challenger requests failed, at most 1.00% may (champion: 0 of 500)"


def test_a_limit_of_zero_fails_at_the_first_error():
    policy = OperationPolicy(max_error_rate=0.0, max_latency_ratio=None)
    assert judge_operation(against(HEALTHY, operation("v2", 500, 1)), policy).verdict is Verdict.FAILED
    assert judge_operation(against(HEALTHY, operation("v2", 500, 0)), policy).verdict is Verdict.SUCCESSFUL


def test_slow_answers_fail_against_the_champion_in_the_same_window():
    rng = np.random.default_rng(4)
    champion = operation("v1", 500, latencies=rng.lognormal(np.log(0.03), 0.3, 500))
    slow = operation("v2", 500, latencies=rng.lognormal(np.log(0.12), 0.3, 500))
    result = judge_operation(against(champion, slow), OperationPolicy())
    assert (result.verdict, result.reason) == (Verdict.FAILED, "LatencyTooHigh")
    assert "1.5 x the champion's p99" in result.message


def test_a_slow_machine_slows_both_and_fails_nobody():
    rng = np.random.default_rng(4)
    both = [operation(name, 500, latencies=rng.lognormal(np.log(0.5), 0.5, 500)) for name in ("v1", "v2")]
    assert judge_operation(against(*both), OperationPolicy()).verdict is Verdict.SUCCESSFUL


def test_below_the_floor_latency_is_fine_whatever_the_ratio():
    fast, tenfold = (
        operation("v1", 500, latencies=[0.002] * 500),
        operation("v2", 500, latencies=[0.02] * 500),
    )
    assert judge_operation(against(fast, tenfold), OperationPolicy()).verdict is Verdict.SUCCESSFUL
    no_floor = OperationPolicy(latency_floor_seconds=0.0)
    assert judge_operation(against(fast, tenfold), no_floor).verdict is Verdict.FAILED


def test_one_pause_of_the_machine_is_no_verdict():
    paused = operation("v2", 200, latencies=[0.005] * 190 + [0.8] * 10)
    result = judge_operation(against(HEALTHY, paused), OperationPolicy())
    assert (result.verdict, result.reason) == (Verdict.INCONCLUSIVE, "LatencyTooHighUnclear")


def test_the_absolute_bound_holds_even_when_the_champion_is_as_slow():
    both = [operation(name, 500, latencies=[0.2] * 500) for name in ("v1", "v2")]
    policy = OperationPolicy(max_latency_seconds=0.05)
    assert judge_operation(against(*both), policy).reason == "LatencyTooHigh"
    assert judge_operation(against(*both), OperationPolicy()).verdict is Verdict.SUCCESSFUL


def test_a_ratio_needs_a_champion_that_was_seen():
    result = judge_operation(against(operation("v1", 20), operation("v2", 500)), OperationPolicy())
    assert (result.reason, result.premature) == ("TooFewRequests", True)
    assert "20 of 100 timed answers of the champion" in result.message


BROKEN = [
    pytest.param(VersionOperation(VersionName("v2"), -1, 0), id="negative"),
    pytest.param(VersionOperation(VersionName("v2"), 10, 11), id="more-errors-than-requests"),
    pytest.param(VersionOperation(VersionName("v2"), math.nan, 0), id="nan"),
    pytest.param(VersionOperation(VersionName("v2"), 500, 0, {0.1: 500, math.inf: 400}), id="not-cumulative"),
    pytest.param(
        VersionOperation(VersionName("v2"), 500, 0, {0.1: math.nan, math.inf: 500}), id="nan-bucket"
    ),
    pytest.param(VersionOperation(VersionName("v2"), 500, 0, {}), id="no-latencies"),
]


@pytest.mark.parametrize("broken", BROKEN)
def test_broken_counters_never_pass(broken):
    assert judge_operation(against(HEALTHY, broken), OperationPolicy()).verdict is Verdict.INCONCLUSIVE
    assert judge_operation(against(broken, HEALTHY), OperationPolicy()).verdict is not Verdict.FAILED


@pytest.mark.parametrize(
    ("bad", "total", "limit"), [(3, 50, 0.01), (0, 20, 0.1), (7, 7, 0.3), (2, 400, 0.01)]
)
def test_the_e_value_is_the_mixture_of_likelihood_ratios(bad, total, limit):
    a, b = 0.5, max(0.5, 0.05 / limit - 0.5)

    def weight(p):
        return p ** (a - 1) * (1 - p) ** (b - 1)

    def ratio(p):
        return weight(p) * (p / limit) ** bad * ((1 - p) / (1 - limit)) ** (total - bad)

    expected = quad(ratio, limit, 1, limit=200)[0] / quad(weight, limit, 1, limit=200)[0]
    assert log_excess_e_value(bad, total, limit) == pytest.approx(math.log(expected), abs=1e-4)


def test_quantile_is_the_upper_end_of_its_bucket():
    assert quantile({0.1: 98, 0.2: 99, math.inf: 100}, 0.99) == 0.2
    assert quantile({0.1: 98, 0.2: 98, math.inf: 100}, 0.99) == math.inf
    assert quantile({}, 0.99) == math.inf


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2000), st.integers(0, 2000))
def test_an_operation_verdict_below_the_minimum_never_promotes(requests, errors):
    errors = min(errors, requests)
    result = judge_operation(against(HEALTHY, operation("v2", requests, errors)), OperationPolicy())
    if requests < 100 or errors > 0.01 * requests:
        assert result.verdict is not Verdict.SUCCESSFUL
    if errors <= 0.01 * requests:
        assert result.verdict is not Verdict.FAILED
