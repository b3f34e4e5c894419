"""A policy's digest says whether a running rollout must begin again, so only what it means may change it."""

from __future__ import annotations

from dataclasses import dataclass, field, make_dataclass, replace
from datetime import timedelta

import pytest

from capstan.domain.digest import digest_of
from capstan.domain.rollout import Limits, RolloutPolicy
from capstan.domain.steps import CanaryStep, ShadowStep
from capstan.domain.traffic import Weight
from capstan.domain.verdicts.guardrails import OperationPolicy
from capstan.domain.verdicts.quality import Decide, QualityRule

POLICY = RolloutPolicy(
    steps=(ShadowStep(Weight(100), min_requests=500), CanaryStep(Weight(25), timedelta(days=2))),
    rules={
        "quality": QualityRule(Decide.UNLESS_WORSE, metric="logLoss"),
        "other": QualityRule(Decide.BETTER),
    },
)


def test_a_field_that_a_new_version_adds_with_a_default_does_not_change_the_digest() -> None:
    old = make_dataclass("Rule", [("margin", float)], frozen=True)
    new = make_dataclass("Rule", [("margin", float), ("cap", float, field(default=9.0))], frozen=True)

    assert digest_of(old(0.01)) == digest_of(new(0.01))
    assert digest_of(new(0.01)) != digest_of(new(0.01, cap=5.0))


def test_the_order_of_rules_and_the_spelling_of_a_number_do_not_change_the_digest() -> None:
    turned = replace(POLICY, rules=dict(reversed(list(POLICY.rules.items()))))
    floats = replace(POLICY, limits=Limits(inconclusive=7.0))  # type: ignore[arg-type]

    assert digest_of(turned) == digest_of(POLICY)
    assert digest_of(floats) == digest_of(replace(POLICY, limits=Limits(inconclusive=7)))


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(replace(POLICY, steps=POLICY.steps[:1]), id="a step less"),
        pytest.param(replace(POLICY, steps=POLICY.steps[::-1]), id="steps in another order"),
        pytest.param(replace(POLICY, limits=Limits(failures=1)), id="a limit"),
        pytest.param(replace(POLICY, operation=OperationPolicy(max_error_rate=0.5)), id="a guardrail"),
        pytest.param(
            replace(POLICY, steps=(POLICY.steps[0], CanaryStep(Weight(25), timedelta(days=2, seconds=1)))),
            id="a duration",
        ),
        pytest.param(
            replace(POLICY, rules={**POLICY.rules, "other": QualityRule(Decide.NOT_WORSE)}), id="a rule"
        ),
    ],
)
def test_what_means_something_else_has_another_digest(changed: RolloutPolicy) -> None:
    assert digest_of(changed) != digest_of(POLICY)


def test_a_value_without_a_canonical_form_is_refused() -> None:
    @dataclass(frozen=True)
    class Policy:
        thing: object

    with pytest.raises(TypeError, match="object has no canonical form"):
        digest_of(Policy(object()))
