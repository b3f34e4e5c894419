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
