"""From stored payloads, labels and events to the verdict of an experiment: the file's step asks and judges."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from contract.recorded_arms import DAY, HOUR, START, V1, V2, Shop, document

from capstan.domain.rollout import RolloutState
from capstan.domain.steps.questions import Arms
from capstan.domain.verdicts.analysis import AnalysisResult, Verdict
from capstan.engine.policies import rollout_policy
from capstan.spec import parse

STEP = {
    "metric": "conversion",
    "guardrails": [{"metric": "logLoss", "margin": 0.1}],
    "secondary": ["revenue"],
}


def shop_document() -> dict[str, Any]:
    found = document()
    found["spec"]["rollout"] = {"steps": [{"experiment": STEP}]}
    return found


def fill(
    shop: Shop, buying: Mapping[str, float], *, champion: int = 400, challenger: int = 400, sure: float = 0.5
) -> None:
    """So many customers of each arm, of whom these shares buy; the challenger answers `sure` to all."""
    number = 0
    payloads = []
    for arm, customers in (("v1", champion), ("v2", challenger)):
        for customer in range(customers):
            number += 1
            at = START + HOUR + number * DAY / 2 / (champion + challenger)
            probability = sure if arm == "v2" else 0.5
            name = f"{arm}-{customer}"
            payloads.append(shop.payload(name, arm, at, unit=name, probability=probability))
            payloads.append(shop.payload(f"{name}-again", arm, at + HOUR, unit=name, probability=probability))
            bought = customer < buying[arm] * customers
            shop.label(name, bought, at + HOUR)
            shop.label(f"{name}-again", bought, at + HOUR)
            if bought:
                shop.event(number, at + HOUR, 20.0, unit=name)
    shop.put(*payloads)
    shop.intake.flush()


def looked(shop: Shop, as_of: datetime) -> dict[str, AnalysisResult]:
    """One look at the step as the loop takes it."""
    policy = rollout_policy(parse(shop.document, base_dir=Path()))
    (step,) = policy.steps
    state = RolloutState.at_step(0)
    split = step.split(V1, V2, "shop-v2", state)
    assert split is not None
    answers = {}
    for question in step.questions(policy, split, state):
        assert isinstance(question.need, Arms)
        evidence = shop.source.arms(question.need, since=START, as_of=as_of)
        answers[question.name] = question.judge(evidence, None)
    return answers


@pytest.fixture(params=["parquet", "monitor"])
def shop(tmp_path: Path, request: pytest.FixtureRequest) -> Shop:
    return Shop(tmp_path, request.param, shop_document())


def test_more_customers_who_buy_win_and_each_counts_once(shop: Shop) -> None:
    fill(shop, {"v1": 0.1, "v2": 0.25})
    found = looked(shop, START + 3 * DAY)
    won = found["experiment"]
    assert (won.verdict, won.arm) == (Verdict.SUCCESSFUL, "v2")
    assert "conversion of v2 against v1 +0.15 per unit over 800 units" in won.message
    assert found["guardrail logLoss"].verdict is Verdict.SUCCESSFUL
    assert "revenue of v2 against v1 +3 per unit" in found["secondary revenue"].message


def test_before_the_windows_are_over_nothing_is_decided(shop: Shop) -> None:
    fill(shop, {"v1": 0.1, "v2": 0.25})
    found = looked(shop, START + DAY / 2)
    assert {name: result.premature for name, result in found.items()} == dict.fromkeys(found, True)
    assert "0 of 500 units of v1 and v2" in found["experiment"].message


def test_customers_who_are_missing_in_one_arm_freeze_the_verdict(shop: Shop) -> None:
    fill(shop, {"v1": 0.1, "v2": 0.25}, champion=460, challenger=300)
    found = looked(shop, START + 3 * DAY)["experiment"]
    assert (found.verdict, found.reason) == (Verdict.INCONCLUSIVE, "SampleRatioMismatch")
    assert found.latch is not None


def test_a_challenger_that_is_sure_of_the_wrong_thing_is_stopped_by_the_guardrail(shop: Shop) -> None:
    fill(shop, {"v1": 0.1, "v2": 0.1}, sure=0.95)
    found = looked(shop, START + 3 * DAY)
    assert found["experiment"].verdict is Verdict.INCONCLUSIVE
    alarm = found["guardrail logLoss"]
    assert (alarm.verdict, alarm.reason) == (Verdict.FAILED, "GuardrailAlarm")
