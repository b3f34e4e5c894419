"""Policies are compared by the same draws of days, not by whether their intervals overlap."""

from __future__ import annotations

import numpy as np
from unit.embedded.backtest.test_backtest_report import finished, result

from capstan.embedded.backtest.differences import differences_of, in_words
from capstan.embedded.backtest.grid import Finished


def policies() -> list[Finished]:
    days = np.random.default_rng(1).normal(0, 0.01, 400)
    base, better, alike = result(0.060), result(0.065), result(0.0601)
    base["resampled_gains"] = (0.060 + days).tolist()
    better["resampled_gains"] = (0.065 + days + np.random.default_rng(2).normal(0, 0.001, 400)).tolist()
    alike["resampled_gains"] = (0.0601 + days + np.random.default_rng(3).normal(0, 0.001, 400)).tolist()
    return finished(base, better, alike)


def test_a_difference_that_is_the_same_on_all_days_is_shown_though_intervals_overlap() -> None:
    itself, better, alike = differences_of(policies(), 0)
    assert itself is None
    assert better is not None
    assert better.is_shown
    assert 0.002 < better.interval[0] < better.value < better.interval[1] < 0.008
    assert alike is not None
    assert not alike.is_shown


def test_the_sentence_names_what_is_shown_and_what_it_is_compared_with() -> None:
    told = in_words(policies(), 0)
    assert "than cooldown=7d" in told
    assert "cooldown=14d (+0.0050 [" in told
    assert "cooldown=28d" not in told
    assert in_words([policies()[0], policies()[2]], 0).startswith("no policy is shown")


def test_gains_of_other_draws_are_not_compared() -> None:
    some = policies()
    some[1].result["resampled_gains"] = [0.1]
    assert differences_of(some, 0)[1] is None


def test_gains_of_other_months_or_of_other_rows_are_not_compared() -> None:
    some = policies()
    del some[1].result["months"]["2013-03"]
    some[2].result["months"]["2013-03"]["rows"] -= 1
    assert differences_of(some, 0) == [None, None, None]
