"""A metric of a person's own keeps the suite of metrics, and the suite notices one that does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from capstan.errors import InvalidDataError
from capstan.spec.tasks import Direction
from capstan.testing import NotConformingError, check_metric
from capstan.training.factories import importable

CODE = """
import numpy as np

def cost(miss=10):
    def measure(truth, predictions, weights):
        alarm = predictions["probability"] >= 0.5
        return np.average(np.where(truth & ~alarm, miss, 0) + (alarm & ~truth), weights=weights)
    return measure

def large_errors(minutes=1):
    return lambda truth, predictions: np.mean(np.abs(predictions["value"] - truth) > minutes)

def right_class():
    return lambda truth, predictions: np.mean(predictions["label"] == truth)

def first_is_relevant():
    def measure(truth, predictions, groups):
        order = np.lexsort((-predictions["score"], groups))
        first = order[np.unique(groups[order], return_index=True)[1]]
        return np.mean(truth[first] > 0)
    return measure

def deaf():
    return lambda truth, predictions, weights: np.mean(np.abs(predictions["probability"] - truth))

def moody():
    rng = np.random.default_rng(0)
    return lambda truth, predictions: np.mean(np.abs(predictions["probability"] - truth)) + 0.01 * rng.random()

def touchy():
    return lambda truth, predictions: 1 / truth.sum().item() / (len(truth) - truth.sum().item())

def silent():
    return None
"""


@pytest.fixture(autouse=True)
def beside(tmp_path: Path) -> Iterator[None]:
    (tmp_path / "mymetrics.py").write_text(CODE)
    with importable(tmp_path):
        yield


@pytest.mark.parametrize(
    ("factory", "task", "better"),
    [
        ("cost", "BinaryClassification", "Lower"),
        ("large_errors", "Regression", "Lower"),
        ("right_class", "MulticlassClassification", "Higher"),
        ("first_is_relevant", "Ranking", "Higher"),
    ],
)
def test_a_metric_of_a_persons_own_keeps_the_suite_of_each_task(
    factory: str, task: str, better: Direction
) -> None:
    check_metric(f"mymetrics:{factory}", task, better=better)


def test_its_parameters_are_passed_on() -> None:
    with pytest.raises(InvalidDataError, match="unexpected keyword argument 'penalty'"):
        check_metric("mymetrics:cost", parameters={"penalty": 3})


@pytest.mark.parametrize(
    ("factory", "better", "says"),
    [
        ("cost", "Higher", "the opposite is worse"),
        ("deaf", "Lower", "let a row of weight 2 count as two rows"),
        ("moody", "Lower", "the same each time"),
        ("touchy", "Lower", "rows of one label have a value, or none.*ZeroDivisionError"),
    ],
)
def test_the_suite_notices_a_metric_that_is(factory: str, better: Direction, says: str) -> None:
    with pytest.raises(NotConformingError, match=f"(?s){says}"):
        check_metric(f"mymetrics:{factory}", better=better)


def test_what_makes_no_metric_is_told_by_its_factory() -> None:
    with pytest.raises(InvalidDataError, match="mymetrics:silent gave NoneType"):
        check_metric("mymetrics:silent")
