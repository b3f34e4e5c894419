"""A challenger that refuses what the champion answers is seen; a client's own mistakes fail nobody."""

from __future__ import annotations

import pytest

from capstan.domain.steps.questions import AmountQuestion
from capstan.domain.verdicts.analysis import Verdict
from capstan.domain.verdicts.evidence import OperationEvidence, PairedEvidence, VersionOperation
from capstan.domain.verdicts.guardrails import OperationPolicy, judge_operation
from capstan.domain.verdicts.quality import Decide, QualityRule, judge_quality
from capstan.domain.versions import VersionName

RULES = [QualityRule(decide) for decide in (Decide.BETTER, Decide.NOT_WORSE)] + [
    QualityRule(Decide.UNLESS_WORSE, margin=0.1)
]


def operation(name: str, requests: int, refused: int) -> VersionOperation:
    return VersionOperation(
        VersionName(name), requests, 0, {0.01: requests, float("inf"): requests}, refused=refused
    )


def judged(champion: tuple[int, int], challenger: tuple[int, int]) -> object:
    evidence = OperationEvidence(operation("v1", *champion), operation("v2", *challenger))
    return judge_operation(evidence, OperationPolicy())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.decide)
def test_a_challenger_that_refuses_what_the_champion_answers_fails(rule: QualityRule) -> None:
    result = judge_quality(PairedEvidence(paired_requests=280, refused_answers=120), rule)
    assert (result.verdict, result.reason) == (Verdict.FAILED, "RefusesAnswered")
    assert "refused 120 of 400 requests that the champion answered" in result.message


def test_it_fails_too_where_only_the_amount_of_pairs_is_asked() -> None:
    question = AmountQuestion("amount", min_requests=100, min_labels=0, min_blocks=0)
    answer = question.judge(PairedEvidence(paired_requests=280, refused_answers=120), None)
    assert (answer.verdict, answer.reason) == (Verdict.FAILED, "RefusesAnswered")
    assert question.judge(PairedEvidence(paired_requests=280), None).verdict is Verdict.SUCCESSFUL


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.decide)
def test_two_refusals_or_a_few_in_thousands_fail_nobody(rule: QualityRule) -> None:
    for pairs, refused in ((0, 2), (4000, 30)):
        result = judge_quality(PairedEvidence(paired_requests=pairs, refused_answers=refused), rule)
        assert result.reason != "RefusesAnswered"


def test_a_larger_share_of_refusals_in_a_canary_holds_it_and_fails_nobody() -> None:
    result = judged((1200, 3), (400, 120))
    assert (result.verdict, result.reason, result.premature) == (
        Verdict.INCONCLUSIVE,
        "RefusesMore",
        False,
    )
    assert "120 of 400 challenger requests were refused (champion: 3 of 1,200)" in result.message


def test_bad_requests_that_both_versions_refuse_hold_nothing_and_are_told() -> None:
    result = judged((1200, 360), (400, 130))
    assert (result.verdict, result.reason) == (Verdict.SUCCESSFUL, "GuardrailsHold")
    assert "130 of 400 challenger requests were refused (champion: 360 of 1,200)" in result.message


def test_refusals_are_no_errors() -> None:
    assert "0 of 400 challenger requests failed" in judged((1200, 360), (400, 130)).message


def test_without_a_refusal_nothing_is_said_of_them() -> None:
    assert "refused" not in judged((1200, 0), (400, 0)).message
