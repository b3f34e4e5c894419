"""A metric of a person's own: what its function gets, what it may give, and how its faults are told."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from capstan.errors import InvalidDataError
from capstan.evaluation.bootstrap import paired_difference
from capstan.spec.evaluation import CustomMetric
from capstan.spec.tasks import MetricFacts
from capstan.tasks import Metric, Predictions, task_named
from capstan.tasks.own_metric import own_metric, with_own_metrics
from capstan.training.factories import importable

CODE = """
import numpy as np

def brier(scale=1.0):
    return lambda truth, predictions: scale * np.mean((predictions["probability"] - truth) ** 2)

def weighted():
    def measure(truth, predictions, weights):
        return np.average((predictions["probability"] - truth) ** 2, weights=weights)
    return measure

def deaf():
    return lambda truth, predictions, weights: np.mean((predictions["probability"] - truth) ** 2)

def groups_with_a_hit():
    def measure(truth, predictions, groups):
        best = [np.argmax(np.where(groups == one, predictions["score"], -np.inf)) for one in np.unique(groups)]
        return np.mean(truth[best] > 0)
    return measure

def spoiling():
    def measure(truth, predictions):
        truth[:] = False
        predictions["probability"][:] = 0
        return 0.5
    return measure

def number():
    return 7

def positional():
    return lambda truth, predictions, w: 0.5

def one_argument():
    return lambda truth: 0.5

def each_row():
    return lambda truth, predictions: predictions["probability"]

def text():
    return lambda truth, predictions: "0.5"

def a_boolean():
    return lambda truth, predictions: True

def infinite():
    return lambda truth, predictions: float("inf")

def missing_column():
    return lambda truth, predictions: predictions["value"].mean()

def undefined():
    return lambda truth, predictions: float("nan")

def failing():
    raise ValueError("no such price list")
"""
rng = np.random.default_rng(4)
TRUTH = rng.random(400) < 0.4
GOOD = Predictions({"probability": np.clip(0.4 * TRUTH + rng.random(400) * 0.6, 0, 1)})
POOR = Predictions({"probability": rng.random(400)})
DAYS = np.arange(400) // 40


@pytest.fixture(autouse=True)
def beside(tmp_path: Path) -> Iterator[None]:
    (tmp_path / "mymetrics.py").write_text(CODE)
    with importable(tmp_path):
        yield


def own(name: str, **parameters: float) -> Metric:
    return own_metric(MetricFacts("own", "own", "Lower", "window"), f"mymetrics:{name}", parameters)


@pytest.mark.parametrize("name", ["brier", "weighted"])
def test_it_is_measured_and_drawn_by_days_as_the_same_metric_of_the_house(name: str) -> None:
    house, mine = task_named("BinaryClassification").metrics["brierScore"], own(name)
    assert mine.value(TRUTH, GOOD) == pytest.approx(house.value(TRUTH, GOOD))
    differences = [
        paired_difference(one, TRUTH, GOOD, POOR, DAYS, rng=np.random.default_rng(0), resamples=50)
        for one in (house, mine)
    ]
    assert differences[0] is not None
    assert differences[1] is not None
    assert differences[1].resampled == pytest.approx(differences[0].resampled)
    assert np.ptp(differences[1].resampled) > 0


def test_its_parameters_reach_the_factory() -> None:
    assert own("brier", scale=3.0).value(TRUTH, GOOD) == pytest.approx(3 * own("brier").value(TRUTH, GOOD))


def test_a_task_tells_it_behind_its_own_metrics_and_stays_as_it_was_for_others() -> None:
    written = CustomMetric.model_validate(
        {"name": "cost", "better": "Lower", "custom": {"factory": "mymetrics:brier"}}
    )
    task = task_named("BinaryClassification")
    mine = with_own_metrics(task, [written])
    assert tuple(mine.metrics) == (*task.metrics, "cost") == mine.facts.metric_names
    assert (mine.facts.metric("cost").title, mine.facts.metric("cost").sign) == ("cost", -1)
    assert "cost" not in task_named("BinaryClassification").metrics
    assert with_own_metrics(task, []) is task


def test_it_gets_copies_so_that_what_it_writes_into_them_changes_nothing() -> None:
    truth, probability = TRUTH.copy(), GOOD["probability"].copy()
    own("spoiling").value(truth, GOOD)
    assert np.array_equal(truth, TRUTH)
    assert np.array_equal(probability, GOOD["probability"])


def test_a_group_that_is_drawn_twice_is_two_groups_to_it() -> None:
    truth = np.array([1, 0, 0, 2, 0, 0])
    groups = np.array([0, 0, 1, 1, 2, 2])
    predictions = Predictions({"score": np.array([2.0, 1.0, 3.0, 1.0, 1.0, 2.0])})
    metric = own("groups_with_a_hit")
    assert metric.value(truth, predictions, groups) == pytest.approx(1 / 3)
    drawn = metric.resampled(truth, predictions, groups, groups, np.array([[3.0, 0, 1], [0, 1, 1]]))
    assert drawn.tolist() == [0.75, 0.0]


def test_no_rows_and_rows_that_do_not_define_it_have_no_value() -> None:
    assert math.isnan(own("brier").value(TRUTH[:0], GOOD.rows(slice(0))))
    assert math.isnan(own("weighted").value(TRUTH, GOOD, None, np.zeros(400)))
    assert math.isnan(own("undefined").value(TRUTH, GOOD))


def test_weights_that_it_does_not_heed_are_refused_before_they_make_a_gate_too_sure() -> None:
    metric = own("deaf")
    assert math.isfinite(metric.value(TRUTH, GOOD))
    with pytest.raises(
        InvalidDataError, match=r"mymetrics:deaf: with weights .* let a row of weight 2 count as two"
    ):
        paired_difference(metric, TRUTH, GOOD, POOR, DAYS, rng=np.random.default_rng(0), resamples=50)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("number", "gave int, which can't be called; return a function"),
        ("positional", "missing a required argument: 'w'; it is called with the labels and a map"),
        ("one_argument", "too many positional arguments"),
        ("failing", "ValueError: no such price list"),
        ("absent", "has no attribute 'absent'"),
        ("each_row", r"gave array\(.* \(ndarray\); let it return one finite number"),
        ("text", r"gave '0.5' \(str\)"),
        ("a_boolean", r"gave True \(bool\)"),
        ("infinite", r"gave inf \(float\)"),
        ("missing_column", "asked about 400 rows: KeyError: 'value'"),
    ],
)
def test_what_is_no_metric_is_told_by_its_factory(name: str, says: str) -> None:
    with pytest.raises(InvalidDataError, match=rf"(?s)mymetrics:{name}.*{says}"):
        own(name).value(TRUTH, GOOD)
