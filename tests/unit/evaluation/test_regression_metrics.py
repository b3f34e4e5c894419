"""Metrics of numbers are scikit-learn's; losses count errors up to the stated largest one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from capstan.errors import InvalidDataError
from capstan.evaluation.metrics import evaluate
from capstan.spec.objective import Objective
from capstan.tasks import TASKS, Learnt, Predictions

PLAIN = TASKS["Regression"]
NUMBERS = st.floats(-1e4, 1e4)


def stated(**losses: float) -> object:
    objective = Objective.model_validate({"task": "Regression", "target": "y", "losses": losses})
    return PLAIN.with_objective(objective)


MINUTES = stated(maximumError=100, huberDelta=10, quantile=0.9)
REFERENCES = {
    "rmse": reference.root_mean_squared_error,
    "mae": reference.mean_absolute_error,
    "r2": reference.r2_score,
    "squaredError": lambda t, p: np.mean(np.minimum(np.abs(t - p), 100) ** 2),
    "absoluteError": lambda t, p: np.mean(np.minimum(np.abs(t - p), 100)),
    "quantileLoss": lambda t, p: reference.mean_pinball_loss(t, t + np.clip(p - t, -100, 100), alpha=0.9),
}


def of(values: object) -> Predictions:
    return Predictions({"value": np.asarray(values, dtype=np.float64)})


@pytest.mark.parametrize("metric", REFERENCES)
@given(
    rows=st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=40).filter(
        lambda r: len({t for t, _ in r}) > 1
    )
)
@settings(max_examples=100, deadline=None)
def test_a_metric_of_numbers_equals_scikit_learn(metric: str, rows: list[tuple[float, float]]) -> None:
    truth, predicted = np.array([t for t, _ in rows]), np.array([p for _, p in rows])
    if np.ptp(truth) < 1e-3:
        return
    found = MINUTES.metrics[metric].value(truth, of(predicted))
    assert found == pytest.approx(float(REFERENCES[metric](truth, predicted)), rel=1e-6, abs=1e-9)


def test_huber_is_half_the_square_up_to_delta_and_straight_beyond_it() -> None:
    losses = MINUTES.metrics["huber"].losses
    assert losses(np.zeros(4), of([4, -10, 30, 1000])).tolist() == [8, 50, 50 + 10 * 20, 50 + 10 * 90]


def test_an_answer_that_is_too_low_costs_the_quantile_and_one_too_high_the_rest() -> None:
    losses = MINUTES.metrics["quantileLoss"].losses
    assert losses(np.zeros(2), of([-10, 10])) == pytest.approx([9, 1])


@pytest.mark.parametrize("metric", ["squaredError", "absoluteError", "huber", "quantileLoss"])
def test_one_wild_row_has_the_loss_of_the_largest_error_that_counts(metric: str) -> None:
    found = MINUTES.metrics[metric]
    assert (
        found.losses(np.array([0.0, 0.0]), of([100, 1e9]))
        .tolist()
        .count(found.losses(np.zeros(1), of([100]))[0])
        == 2
    )
    assert found.clipped(np.array([0.0, 0.0, 1e9]), of([100, 101, 0])).tolist() == [False, True, True]


def test_rmse_and_mae_are_of_errors_as_they_are() -> None:
    assert MINUTES.metrics["rmse"].value(np.zeros(1), of([1000])) == 1000
    assert MINUTES.metrics["mae"].value(np.zeros(1), of([1000])) == 1000


def test_mape_leaves_out_rows_whose_truth_is_nothing() -> None:
    mape = PLAIN.metrics["mape"]
    assert mape.value(np.array([10.0, 0.0, -4.0]), of([11, 7, -5])) == pytest.approx((0.1 + 0.25) / 2)
    assert math.isnan(mape.value(np.zeros(2), of([1, 2])))


def test_r2_of_labels_that_are_all_the_same_is_not_defined() -> None:
    for constant in (0.0, 0.1, 1e9 + 0.1):
        assert math.isnan(PLAIN.metrics["r2"].value(np.full(7, constant), of(np.arange(7.0))))


def test_r2_keeps_its_digits_far_from_nothing() -> None:
    truth = 1e9 + np.arange(100.0)
    assert PLAIN.metrics["r2"].value(truth, of(truth + 1)) == pytest.approx(
        1 - 100 / ((np.arange(100) - 49.5) ** 2).sum()
    )


def test_the_largest_labels_that_are_taken_leave_every_loss_a_number() -> None:
    found = evaluate(PLAIN, np.array([9e299, -9e299, 1.0]), of([-9e299, 9e299, 1.0]))
    assert all(math.isfinite(value) for value in found.values()), found


def test_versions_disagree_where_their_answers_differ_by_more_than_delta() -> None:
    assert MINUTES.disagree(of([0, 0, 0]), of([10, 10.5, -11])).tolist() == [False, True, True]
    usual = stated(maximumError=100)
    assert usual.disagree(of([0, 0]), of([9, 11])).tolist() == [False, True]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ([[1.0], [2.0]], r"predict gave shape \(2, 1\) for 2 rows; it must be \(2,\), one number a row"),
        ([1.0, math.nan], "predict gave nan for 1 of 2 rows; every answer must be a finite number"),
        (["a", "b"], "not numbers"),
    ],
)
def test_what_is_no_number_per_row_is_refused_in_training(said: object, words: str) -> None:
    class Says:
        def predict(self, _: object) -> object:
            return said

    with pytest.raises(InvalidDataError, match=words):
        PLAIN.scores(Says(), None, rows=2)


def test_a_classifier_is_no_model_of_numbers() -> None:
    class Classifier:
        classes_ = (0, 1)

    with pytest.raises(InvalidDataError, match="it is a classifier"):
        PLAIN.learnt(Classifier())


def test_the_answer_is_the_value_alone() -> None:
    outputs = PLAIN.outputs(of([1.5]))
    assert PLAIN.answers(outputs, Learnt()) == [{"value": 1.5}]
    (tensor,) = PLAIN.tensors(outputs, Learnt())
    assert tensor.document() == {"name": "value", "datatype": "FP64", "shape": (1,), "data": [1.5]}
