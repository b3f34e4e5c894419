"""What errors of a number cost and what classes are worth: the metric, its losses, and which worths are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from capstan.errors import InvalidSpecError
from capstan.spec.objective import NumberLosses, Objective
from capstan.spec.value import AnswerValue, PairWorth
from capstan.tasks import TASKS, Task
from capstan.tasks.metric import Metric
from capstan.tasks.predictions import Learnt, Predictions
from capstan.testing import check_metric, check_task

ERRORS = AnswerValue(currency="$", over=-2, under=-5)
MINUTES = Objective(task="Regression", target="delay", losses=NumberLosses(maximum_error=30), value=ERRORS)
CLASSES = AnswerValue(
    currency="$", right=1, wrong=-5, pairs=(PairWorth(label="fraud", answer="fine", worth=-500),)
)
BANDS = Objective(task="MulticlassClassification", target="band", value=CLASSES)


def stated(objective: Objective) -> tuple[Task, Metric]:
    task = TASKS[objective.task].with_objective(objective)
    return task, task.metrics["value"]


def test_each_unit_of_error_costs_what_its_direction_says_up_to_the_largest_error_that_counts() -> None:
    _, value = stated(MINUTES)
    truth = np.array([10.0, 10.0, 10.0, 10.0])
    answers = Predictions({"value": np.array([13.0, 6.0, 10.0, 100.0])})
    assert value.losses is not None
    assert value.losses(truth, answers).tolist() == [6, 20, 0, 60]
    assert value.value(truth, answers) == pytest.approx(-86 / 4)
    assert value.clipped is not None
    assert value.clipped(truth, answers).tolist() == [False, False, False, True]


def test_the_best_single_number_is_the_quantile_that_both_costs_make() -> None:
    _, value = stated(MINUTES)
    truth = np.random.default_rng(1).normal(0, 5, 2001)
    worths = [
        value.value(truth, Predictions({"value": np.full(len(truth), np.quantile(truth, level))}))
        for level in (0.5, 0.65, 5 / 7, 0.78, 0.9)
    ]
    assert max(worths) == worths[2]


def bands(*said: str) -> Predictions:
    classes = ("fine", "fraud", "odd")
    scores = np.array([[0.8 if name == one else 0.1 for name in classes] for one in said])
    return TASKS["MulticlassClassification"].predictions(scores, Learnt(classes))


def test_a_class_is_worth_what_the_pair_says_and_else_right_or_wrong() -> None:
    _, value = stated(BANDS)
    truth = np.array(["fine", "fraud", "fraud", "fine", "unseen"])
    answers = bands("fine", "fine", "odd", "fraud", "fine")
    assert value.value(truth, answers) == pytest.approx((1 - 500 - 5 - 5 - 5) / 5)
    assert value.losses is not None
    assert value.losses(truth, answers).tolist() == [0, 501, 6, 6, 6]


@pytest.mark.parametrize("objective", [MINUTES, BANDS], ids=lambda one: one.task)
def test_the_task_and_its_metric_keep_the_rules_of_all(objective: Objective) -> None:
    task, value = stated(objective)
    check_task(task)
    check_metric(value, task)
    assert task.facts.metric("value").title == "value of an answer, $"
    assert "value" not in TASKS[objective.task].metrics


def test_classes_of_pairs_that_are_nowhere_to_be_seen_are_told() -> None:
    classes = AnswerValue(right=1, pairs=(PairWorth(label="fraud", answer="fime", worth=-500),))
    task = TASKS["MulticlassClassification"].with_objective(BANDS.model_copy(update={"value": classes}))
    answers = bands("fine", "odd")
    notes = task.details(np.array(["fine", "odd"]), answers)["notes"]
    assert notes == ["objective.value.pairs name classes that no row here is or could be answered: 'fime'"]
    assert stated(BANDS)[0].details(np.array(["fine", "odd"]), answers)["notes"] == []


@pytest.mark.parametrize(
    ("objective", "margins"),
    [
        # A half per cent of 5 $ for each of 30 units; of 501 $ between the best and the worst answer.
        (MINUTES, {"value": 0.75, "absoluteError": 0.3}),
        (BANDS, {"value": 2.505, "accuracy": 0.01}),
    ],
    ids=["numbers", "classes"],
)
def test_margins_that_are_left_out_are_shares_of_the_largest_loss(
    objective: Objective, margins: dict[str, float]
) -> None:
    assert {name: objective.usual(objective.facts.metric(name), "margin") for name in margins} == margins


@pytest.mark.parametrize(
    ("worths", "told"),
    [
        ({}, "says nothing of what answers are worth"),
        ({"currency": "$"}, "says nothing of what answers are worth"),
        ({"over": -1, "under": -1, "right": 1}, "mixes several kinds"),
        ({"over": -1}, "write over and under below 0"),
        ({"over": 0, "under": -1}, "write over and under below 0"),
        ({"right": 1, "wrong": 1}, "write right above wrong"),
        ({"right": 1, "pairs": [{"label": "a", "answer": "b", "worth": 1}]}, "write right above wrong"),
        (
            {"right": 1, "pairs": [{"label": "a", "answer": "a", "worth": 0}]},
            "pairs are of a label and another",
        ),
        ({"right": 1, "pairs": [{"label": "a", "answer": "b", "worth": 0}] * 2}, "each once"),
        ({"over": 1, "under": -1}, "over"),
    ],
)
def test_worths_that_say_too_little_or_too_much_are_refused(worths: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidSpecError, match=told):
        AnswerValue(**worths)
