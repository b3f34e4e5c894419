"""What N requests of a canary show, against the guardrail's own verdict of every order in which they can come."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import inf

import pytest

from capstan.domain.verdicts.analysis import Verdict
from capstan.domain.verdicts.evidence import OperationEvidence, VersionOperation
from capstan.domain.verdicts.guardrails import (
    SLOW_BURST,
    SLOW_SHARE,
    BadRequests,
    OperationPolicy,
    judge_operation,
)
from capstan.domain.versions import VersionName
from capstan.evaluation.canary_power import canary_power

POLICY = OperationPolicy(max_error_rate=0.05, max_latency_ratio=None, min_requests=1)


def verdict(policy: OperationPolicy, requests: int, errors: int = 0, slow: int = 0) -> Verdict:
    buckets = {0.1: requests - slow, inf: requests}
    champion = VersionOperation(VersionName("v1"), 10_000, 0, {0.05: 10_000, 0.1: 10_000, inf: 10_000})
    challenger = VersionOperation(VersionName("v2"), requests, errors, buckets)
    return judge_operation(OperationEvidence(champion, challenger), policy).verdict


@pytest.mark.parametrize("limit", [0.0, 0.05, 0.3])
def test_chances_are_those_of_every_order_that_the_guardrail_is_asked_about(limit: float) -> None:
    policy, share, requests = replace(POLICY, max_error_rate=limit), 0.4, 11
    expected = dict.fromkeys(Verdict, 0.0)
    one_look = 0.0
    for order in product((0, 1), repeat=requests):
        chance = 1.0
        looks = []
        for end, bad in enumerate(order, start=1):
            chance *= share if bad else 1 - share
            looks.append(verdict(policy, end, sum(order[:end])))
        expected[Verdict.FAILED if Verdict.FAILED in looks else looks[-1]] += chance
        one_look += chance * (looks[-1] is Verdict.FAILED)
    found = canary_power(share, BadRequests(0, 0, limit), policy.log_e_needed, [requests]).by_requests[0]
    assert 0 < found.stopped < 1
    assert found.stopped == pytest.approx(expected[Verdict.FAILED])
    assert found.held == pytest.approx(expected[Verdict.INCONCLUSIVE])
    assert found.passes == pytest.approx(expected[Verdict.SUCCESSFUL])
    assert found.one_look == pytest.approx(one_look)


def test_slow_requests_need_the_counts_at_which_the_latency_guardrail_fails() -> None:
    policy = OperationPolicy(min_requests=1)
    slow = BadRequests(0, 0, SLOW_SHARE, SLOW_BURST)
    # All requests are slow: the canary stops at the first total of which all are enough.
    all_slow = next(total for total in range(1, 99) if verdict(policy, total, slow=total) is Verdict.FAILED)
    assert all_slow >= 3 * SLOW_BURST  # a burst counts as one
    assert canary_power(1.0, slow, policy.log_e_needed, [200]).median_requests == all_slow
    assert canary_power(1.0, slow, policy.log_e_needed, [all_slow - 1]).by_requests[0].stopped == 0


def test_a_canary_at_the_limit_is_stopped_in_less_than_alpha_however_long_it_runs() -> None:
    policy = OperationPolicy(max_latency_ratio=None)
    found = canary_power(0.01, BadRequests(0, 0, 0.01), policy.log_e_needed, [5000]).by_requests[0]
    assert 0 < found.stopped <= policy.alpha
    assert found.stopped + found.held + found.passes == pytest.approx(1)
