"""Over- and underfitting are told apart from chance, in words that say what to do."""

from __future__ import annotations

import math

import pytest

from capstan.evaluation.fit_quality import CurvePoint, FitQuality, judge_fit
from capstan.spec.tasks import BINARY, REGRESSION

AUC, RMSE = BINARY.metric("rocAuc"), REGRESSION.metric("rmse")


def judged(learnt: float, new: float, *, before: float = 0.7, error: float | None = 0.01) -> FitQuality:
    points = [CurvePoint(1000, learnt, before), CurvePoint(3000, learnt, new)]
    return judge_fit(points, AUC, baseline=0.5, baseline_learnt=0.5, error=error)


def test_a_model_that_loses_a_third_of_its_gain_on_new_rows_overfits() -> None:
    found = judged(0.95, 0.75)
    assert found.overfits
    assert found.words[0].startswith("Overfitting: ROC-AUC 0.95 on rows that it learnt from (0.5")
    assert "keep 56 % of what it gains" in found.words[0]
    assert not judged(0.80, 0.75).overfits, "a sixth of the gain"


def test_a_gap_that_chance_explains_is_none() -> None:
    assert judged(0.60, 0.56, error=0.01).overfits
    assert not judged(0.60, 0.56, error=0.03).overfits


def test_a_model_that_does_not_know_its_own_rows_underfits() -> None:
    found = judged(0.51, 0.50)
    assert found.underfits
    assert "add features" in found.words[0]


@pytest.mark.parametrize(
    ("new", "words"), [(0.75, "More rows help"), (0.705, "More rows like these change little")]
)
def test_more_rows_help_where_the_last_ones_did(new: float, words: str) -> None:
    assert judged(0.8, new).words[1].startswith(words)


def test_of_a_metric_of_which_less_is_better_the_signs_turn() -> None:
    points = [CurvePoint(1000, 10, 24), CurvePoint(3000, 10, 20)]
    found = judge_fit(points, RMSE, baseline=30, baseline_learnt=30, error=0.5)
    assert not found.underfits
    assert found.overfits, "of 20 minutes that it gains on its own rows, the test keeps 10"
    assert found.words[1].startswith("More rows help")


def test_rows_that_are_harder_for_everybody_are_no_bad_fit() -> None:
    points = [CurvePoint(1000, 38, 41), CurvePoint(3000, 42.3, 41.0)]
    assert judge_fit(points, RMSE, baseline=41.6, baseline_learnt=41.6, error=0.1).underfits
    assert not judge_fit(points, RMSE, baseline=41.6, baseline_learnt=43.1, error=0.1).underfits
    harder = [CurvePoint(3000, 10, 20)]
    assert not judge_fit(harder, RMSE, baseline=40, baseline_learnt=30, error=0.5).overfits


def test_a_metric_that_is_not_known_flags_nothing() -> None:
    found = judged(math.nan, 0.7)
    assert not found.overfits
    assert not found.underfits
    assert found.words == ("ROC-AUC is not known everywhere.",)
