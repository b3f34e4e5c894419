"""The simplest candidate that is about as good as the best is taken."""

from __future__ import annotations

import math

import pytest

from capstan.errors import InvalidDataError
from capstan.training.choosing import choose


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
    assert choose(values, metric=metric, within=within, failures={})[0] == chosen


def test_the_reason_names_both() -> None:
    _, reason = choose({"plain": 0.716, "trees": 0.72}, metric="rocAuc", within=0.005, failures={})
    assert reason == "plain has rocAuc 0.7160, within 0.005 of trees's 0.7200 and simpler"


def test_without_any_value_every_reason_is_told() -> None:
    with pytest.raises(InvalidDataError) as caught:
        choose({"a": math.nan, "b": math.nan}, metric="rocAuc", within=0, failures={"a": "no licence"})
    assert "a: no licence" in str(caught.value)
    assert "b: rocAuc is not defined" in str(caught.value)
