"""The simplest candidate that is about as good as the best is taken."""

from __future__ import annotations

import math

import pytest

from capstan.errors import InvalidDataError
from capstan.spec.tasks import TASK_FACTS
from capstan.training.choosing import choose, runners_up

BINARY = TASK_FACTS["BinaryClassification"]
ROC_AUC = BINARY.metric("rocAuc")


@pytest.mark.parametrize(
    ("values", "metric", "within", "chosen"),
    [
        ({"plain": 0.70, "trees": 0.72}, "rocAuc", 0.0, "trees"),
        ({"plain": 0.716, "trees": 0.72}, "rocAuc", 0.005, "plain"),
        ({"plain": 0.714, "trees": 0.72}, "rocAuc", 0.005, "trees"),
        ({"plain": 0.45, "trees": 0.44}, "logLoss", 0.0, "trees"),
        ({"plain": 0.45, "trees": 0.44}, "logLoss", 0.02, "plain"),
        ({"plain": math.nan, "trees": 0.6}, "rocAuc", 1.0, "trees"),
        ({"first": 0.7, "second": 0.7}, "rocAuc", 0.0, "first"),
    ],
    ids=["best", "simpler-within", "simpler-too-far", "lower-is-better", "lower-within", "undefined", "tie"],
)
def test_choice(values: dict[str, float], metric: str, within: float, chosen: str) -> None:
    assert choose(values, metric=BINARY.metric(metric), within=within, failures={}).name == chosen


@pytest.mark.parametrize(
    ("most", "within", "expected"),
    [
        (1, 0.0, ("trees",)),
        (1, 0.02, ("plain",)),
        (2, 0.02, ("plain", "trees")),
        (9, 0.0, ("trees", "plain")),
        (0, 0.0, ()),
    ],
    ids=["next-best", "simpler-within", "each-by-the-choices-order", "no-more-with-a-value", "none"],
)
def test_runners_up_are_what_would_be_taken_next(most: int, within: float, expected: tuple[str, ...]) -> None:
    values = {"plain": 0.71, "trees": 0.72, "own": 0.73, "broken": math.nan}
    assert runners_up(values, "own", most, metric=ROC_AUC, within=within) == expected


def test_the_reason_names_both() -> None:
    choice = choose({"plain": 0.716, "trees": 0.72}, metric=ROC_AUC, within=0.005, failures={})
    assert choice.reason == "plain has rocAuc 0.7160, within 0.005 of trees's 0.7200 and simpler"


def test_without_any_value_every_reason_is_told() -> None:
    with pytest.raises(InvalidDataError) as caught:
        choose({"a": math.nan, "b": math.nan}, metric=ROC_AUC, within=0, failures={"a": "no licence"})
    assert "a: no licence" in str(caught.value)
    assert "b: rocAuc is not defined" in str(caught.value)


BROKEN = {
    "failures": {"own": "mymodels:make gave LinearSVC,\n which has no predict_proba"},
    "baselines": {"flat"},
}


def test_a_baseline_that_is_alone_because_others_failed_is_not_taken() -> None:
    with pytest.raises(InvalidDataError) as caught:
        choose({"flat": 0.5, "own": math.nan}, metric=ROC_AUC, within=0, **BROKEN)
    assert "only flat is left, a baseline, for all others failed" in str(caught.value)
    assert "baselineAlone: Accept" in str(caught.value)
    assert "own: mymodels:make gave LinearSVC, which has no predict_proba" in str(caught.value)


def test_a_baseline_alone_is_taken_where_the_file_accepts_it_and_the_failures_are_kept() -> None:
    choice = choose(
        {"flat": 0.5, "own": math.nan}, metric=ROC_AUC, within=0, accept_baseline_alone=True, **BROKEN
    )
    assert choice.name == "flat"
    assert choice.failed == {"own": "mymodels:make gave LinearSVC, which has no predict_proba"}


@pytest.mark.parametrize(
    "values",
    [{"flat": 0.5}, {"flat": 0.5, "plain": 0.4}, {"flat": 0.5, "plain": 0.4, "own": math.nan}],
    ids=["only-candidate", "wins-against-another", "wins-beside-a-failure"],
)
def test_a_baseline_that_nothing_beats_is_taken(values: dict[str, float]) -> None:
    assert choose(values, metric=ROC_AUC, within=0, **BROKEN).name == "flat"


def test_a_candidate_whose_metric_is_not_defined_has_failed() -> None:
    choice = choose({"plain": 0.6, "own": math.nan}, metric=ROC_AUC, within=0, failures={})
    assert choice.failed == {"own": "rocAuc is not defined on the validation rows"}


def test_without_any_value_what_was_left_out_is_told_too() -> None:
    with pytest.raises(
        InvalidDataError, match=r"none can be chosen\n  onward is left out: there is no version yet"
    ):
        choose({}, metric=ROC_AUC, within=0, failures={}, left_out={"onward": "there is no version yet"})
