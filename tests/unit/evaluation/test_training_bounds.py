"""A training that takes or costs too much makes no version that is promoted."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from capstan.evaluation.training_bounds import judge_training
from capstan.spec.objective import Requirements, TrainingCost

TIME = {"training_time": timedelta(hours=2)}
COST = {"training_cost": TrainingCost(most=5, per_hour=1.2, currency="$")}


@pytest.mark.parametrize(
    ("bounds", "seconds", "passed", "message"),
    [
        (TIME, 7200, True, "trainingTime 2h, needs <= 2h"),
        (TIME, 7260, False, "trainingTime 121m, needs <= 2h"),
        (COST, 3600, True, "trainingCost 1.2 $, needs <= 5 $"),
        (COST, 18_000, False, "trainingCost 6 $, needs <= 5 $"),
        (TIME, None, None, "trainingTime not known, needs <= 2h"),
        (COST, None, None, "trainingCost not known, needs <= 5 $"),
    ],
    ids=["in time", "too long", "cheap", "too dear", "time not known", "cost not known"],
)
def test_a_training_that_takes_or_costs_too_much_is_not_passed(
    bounds: dict[str, Any], seconds: float | None, passed: bool | None, message: str
) -> None:
    (found,) = judge_training(Requirements(**bounds), seconds)
    assert (found.passed, found.message) == (passed, message)


def test_a_file_without_bounds_has_no_gate() -> None:
    assert judge_training(Requirements(), 10**9) == []
