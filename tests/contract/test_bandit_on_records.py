"""A bandit that lives on real records: payloads, events and stretches of Parquet files move its weights."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from contract.recorded_arms import DAY, EVENT_DELAY, HOUR, START, V1, V2, Shop

from capstan.domain.rollout import RolloutPhase, RolloutPolicy, RolloutState
from capstan.domain.steps.bandit import BanditStep
from capstan.domain.steps.experiment import Outcome
from capstan.domain.steps.questions import Arms, StepEvidence
from capstan.domain.verdicts.experiments import Better

CONVERSION = Outcome("conversion", Better.HIGHER, DAY, EVENT_DELAY, is_loss=False, is_share=True)
STEP = BanditStep(CONVERSION, batch=DAY)
POLICY = RolloutPolicy((STEP,), {}, digest="d")
BUYS = {V1: 0.1, V2: 0.4}


def chance(*what: object) -> float:
    return int.from_bytes(hashlib.sha256(repr(what).encode()).digest()[:8]) / 2**64


@pytest.mark.parametrize("kind", ["parquet", "monitor"])
def test_purchases_move_the_weights_once_windows_have_closed(kind: str, tmp_path: Path) -> None:
    shop = Shop(tmp_path, kind)
    state = RolloutState(RolloutPhase.PROGRESSING, step_since=START, step_since_wall=START, policy_digest="d")
    weights = []
    number = 0
    for day in range(5):
        split = STEP.split(V1, V2, "s", state)
        weights.append(split.weight_of(V2))
        asked, bought = [], []
        for _ in range(120):
            number += 1
            # A minute after the day has begun the gateway obeys what the look at its beginning said.
            at = START + day * DAY + HOUR + number % 120 * HOUR / 10
            arm = V1 if 100 * chance("arm", number) < split.weight_of(V1) else V2
            asked.append(shop.payload(f"r{number}", arm, at, unit=f"u{number}"))
            if chance("buys", number) < BUYS[arm]:
                moment = (at + HOUR).isoformat()
                bought.append(
                    {"eventId": f"b{number}", "event": "purchase", "unit": f"u{number}", "at": moment,
                     "availableAt": moment, "value": 9.0}
                )  # fmt: skip
        shop.put(*asked)
        shop.intake.events(orjson.dumps({"events": bought}), START, system="shop")
        shop.intake.flush()
        for minute in (0, 1):
            at = START + (day + 1) * DAY + minute * HOUR / 60
            (question,) = STEP.questions(POLICY, STEP.split(V1, V2, "s", state), state)
            assert isinstance(question.need, Arms)
            found = shop.source.arms(question.need, since=START, as_of=START + (day + 1) * DAY)
            state = STEP.moved(replace(state, looked_at=at), StepEvidence({question.need: found}))
    # A unit is followed for a day and its events may take two hours: the third day is the first that knows enough.
    assert weights[:2] == [50, 50]
    assert weights[-1] == 95
    assert state.moves[-1].means[V2] > state.moves[-1].means[V1]
