"""What right and wrong answers are worth: the metric, the threshold, and the labels that are answered."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capstan.errors import InvalidSpecError
from capstan.spec.objective import Objective
from capstan.spec.value import AnswerValue
from capstan.tasks import TASKS
from capstan.tasks.binary import BinaryClassification
from capstan.tasks.predictions import Learnt, Predictions
from capstan.testing import check_metric

WORTH = AnswerValue(currency="$", true_positive=35, false_positive=-5, true_negative=0, false_negative=-60)
TASK = BinaryClassification(WORTH)
VALUE = TASK.metrics["value"]
TRUTH = np.array([True, True, False, False])


def said(*probabilities: float) -> Predictions:
    return Predictions({"probability": np.array(probabilities)})


def test_the_threshold_is_where_both_answers_are_worth_the_same() -> None:
    at = WORTH.threshold
    assert at == pytest.approx(5 / (5 + 95))
    assert at * 35 - (1 - at) * 5 == pytest.approx(-at * 60 + (1 - at) * 0)
    assert AnswerValue(true_positive=1, true_negative=1).threshold == 0.5


def test_the_metric_is_the_mean_worth_of_the_answers_at_that_threshold() -> None:
    answers = said(0.06, 0.01, 0.9, 0.04)
    assert VALUE.value(TRUTH, answers) == pytest.approx((35 - 60 - 5 + 0) / 4)
    assert VALUE.losses is not None
    assert VALUE.losses(TRUTH, answers).tolist() == [0, 95, 40, 35], "what is missed of the best case, 35"
    assert VALUE.best == 35


def test_it_keeps_the_rules_of_every_metric() -> None:
    check_metric(VALUE, TASK)
    assert tuple(TASK.metrics) == TASK.facts.metric_names


@given(
    st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=40),
    st.floats(0.01, 0.99),
)
def test_of_calibrated_answers_no_other_threshold_is_worth_more(
    rows: list[tuple[bool, float]], other: float
) -> None:
    chance = np.array([probability for _, probability in rows])

    def expected(threshold: float) -> float:
        is_true = chance >= threshold
        true = chance * WORTH.true_positive + (1 - chance) * WORTH.false_positive
        false = chance * WORTH.false_negative + (1 - chance) * WORTH.true_negative
        return float(np.where(is_true, true, false).sum())

    assert expected(WORTH.threshold) >= expected(other) - 1e-9


def test_the_answered_label_and_what_is_counted_obey_the_threshold() -> None:
    class Model:
        classes_ = np.array([False, True])

    learnt = TASK.learnt(Model())
    assert learnt == Learnt((False, True), WORTH.threshold)
    assert [one["label"] for one in TASK.answers([{"probability": 0.06}, {"probability": 0.04}], learnt)] == [
        True,
        False,
    ]
    answers = said(0.06, 0.01, 0.9, 0.04)
    assert TASK.metrics["recall"].value(TRUTH, answers) == 0.5
    assert TASKS["BinaryClassification"].metrics["recall"].value(TRUTH, answers) == 0.0
    (table,) = TASK.details(TRUTH, answers)["tables"]
    assert table["cells"] == [[1, 1], [1, 1]]
    assert table["notes"] == ["answered true from a probability of 0.05 on"]
    assert TASK.disagree(said(0.06), said(0.04)).tolist() == [True]
    assert TASKS["BinaryClassification"].disagree(said(0.06), said(0.04)).tolist() == [False]


def test_an_objective_without_worths_leaves_the_task_as_it_is() -> None:
    task = TASKS["BinaryClassification"]
    assert task.with_objective(Objective(task="BinaryClassification", target="late")) is task
    stated = Objective(task="BinaryClassification", target="late", value=WORTH)
    assert task.with_objective(stated).facts.metric("value").title == "value of a case, $"
    assert "value" not in task.metrics


@pytest.mark.parametrize(
    "worths",
    [
        {"true_positive": 0},
        {"true_positive": 1},
        {"true_positive": 1, "true_negative": 1, "false_positive": 1},
    ],
)
def test_worths_that_make_one_answer_always_right_are_refused(worths: dict[str, float]) -> None:
    with pytest.raises(InvalidSpecError, match="a right answer is worth no more than the wrong one"):
        AnswerValue(**worths)  # type: ignore[arg-type]
