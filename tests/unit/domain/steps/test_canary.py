"""A canary beside a fresh copy of the champion passes on what the copy showed, and never without it."""

from __future__ import annotations

import pytest

from capstan.domain.planners.looks import questions_of
from capstan.domain.rollout import RolloutPhase, RolloutPolicy, RolloutState, copy_of
from capstan.domain.steps.canary import Baseline, CanaryStep
from capstan.domain.steps.questions import Operation, OperationQuestion
from capstan.domain.traffic import Weight
from capstan.domain.verdicts.analysis import Verdict
from capstan.domain.verdicts.evidence import OperationEvidence, VersionOperation
from capstan.domain.verdicts.guardrails import OperationPolicy
from capstan.domain.versions import VersionName
from capstan.testing.steps import _request

V1, V2, COPY = VersionName("v1"), VersionName("v2"), VersionName("v1-copy")
STEP = CanaryStep(Weight(20), Baseline.FRESH_COPY, min_requests=200)
STATE = RolloutState.at_step(0)


def question(policy: OperationPolicy) -> OperationQuestion:
    asked = questions_of(_request(()), STATE, RolloutPolicy((STEP,), {}, operation=policy, digest="d"))
    [found] = [one for one in asked if isinstance(one, OperationQuestion)]
    return found


def counted(version: VersionName, requests: int, seconds: float = 0.02) -> VersionOperation:
    bounds = (0.02, 0.05, 0.2, float("inf"))
    return VersionOperation(
        version, requests, 0, {bound: requests if seconds <= bound else 0 for bound in bounds}
    )


def test_the_challenger_is_compared_with_the_copy_alone() -> None:
    assert question(OperationPolicy()).need == Operation(False, baseline=COPY)


def test_the_copy_has_the_challengers_share_and_the_champion_the_rest() -> None:
    split = STEP.split(V1, V2, "s", STATE)
    assert {arm.version: int(arm.weight) for arm in split.arms} == {V1: 60, COPY: 20, V2: 20}
    assert split.champion == V1


@pytest.mark.parametrize("requests", [0, 199])
@pytest.mark.parametrize("ratio", [None, 1.5])
def test_without_enough_requests_to_the_copy_nothing_passes(requests: int, ratio: float | None) -> None:
    asked = question(OperationPolicy(max_latency_ratio=ratio))
    found = asked.judge(OperationEvidence(counted(COPY, requests), counted(V2, 500)), None)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.premature
    enough = asked.judge(OperationEvidence(counted(COPY, 200), counted(V2, 500)), None)
    assert enough.verdict is Verdict.SUCCESSFUL
    assert "v1-copy" in enough.message


def test_a_challenger_as_slow_as_the_copy_is_not_to_blame() -> None:
    asked = question(OperationPolicy())
    slow = counted(V2, 500, seconds=0.2)
    assert asked.judge(OperationEvidence(counted(V1, 500), slow), None).verdict is Verdict.FAILED
    beside = OperationEvidence(counted(COPY, 500, seconds=0.2), slow)
    assert asked.judge(beside, None).verdict is Verdict.SUCCESSFUL


@pytest.mark.parametrize("phase", [phase for phase in RolloutPhase if phase is not RolloutPhase.PROGRESSING])
def test_the_copy_is_needed_while_its_step_runs_and_never_else(phase: RolloutPhase) -> None:
    request = _request(())
    found = copy_of(request, STATE, (STEP,))
    assert found is not None
    assert found.name == COPY
    assert copy_of(request, RolloutState(phase=phase), (STEP,)) is None
    assert copy_of(request, STATE, (CanaryStep(Weight(20)),)) is None
