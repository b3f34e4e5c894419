"""Balanced classes are refused where the task has none to balance, and beside weights that would not hold."""

from __future__ import annotations

import pytest
from unit.spec.test_fairness_rules import REWEIGH, mistakes

BALANCE = {"balance": {"method": "SMOTE", "ratio": 0.5}}


@pytest.mark.parametrize("example", ["flight-minutes", "flight-ranking"])
def test_numbers_and_orders_are_not_balanced(example: str) -> None:
    ((path, message),) = mistakes(example, training=BALANCE)
    assert path == "training.balance"
    assert "the task's labels are none that it learns from; drop it" in message


@pytest.mark.parametrize("example", ["flight-bands", "flight-delays", "two-models"])
def test_classes_are_balanced(example: str) -> None:
    assert mistakes(example, training=BALANCE) == []


def test_balanced_rows_have_no_weights_of_groups() -> None:
    ((path, message),) = mistakes("flight-delays", training=BALANCE | REWEIGH)
    assert path == "training.balance"
    assert "keep one of the two" in message


def test_a_ratio_above_one_and_another_method_are_refused_by_name() -> None:
    found = dict(mistakes("flight-delays", training={"balance": {"method": "Smote", "ratio": 2}}))
    assert "SMOTE" in found["training.balance.method"]
    assert "1" in found["training.balance.ratio"]


@pytest.mark.parametrize(
    ("candidate", "field", "said"),
    [
        (
            {"name": "x", "randomForest": {"classWeights": "Balanced"}},
            "randomForest.classWeights",
            "'Balanced' counts rows of rare classes more, as training.balance does; keep one of the two",
        ),
        (
            {"name": "x", "neuralNetwork": {"earlyStopping": {}}},
            "neuralNetwork.earlyStopping",
            "stops by rows that training.balance would make or repeat",
        ),
    ],
)
def test_what_goes_by_the_rows_as_they_came_is_not_beside_balanced_ones(
    candidate: dict[str, object], field: str, said: str
) -> None:
    plain = {"candidates": [{"name": "baseline", "mostFrequent": {}}, candidate]}
    choose = {"choose": {"metric": "rocAuc"}}
    assert mistakes("flight-delays", training=plain | choose) == []
    ((path, message),) = mistakes("flight-delays", training=plain | choose | BALANCE)
    assert path == f"training.candidates[1].{field}"
    assert said in message
