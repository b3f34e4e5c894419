"""Thresholds are proposed within the budget of false alarms, and none where the history can't show that."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
from unit.embedded.backtest.test_backtest_report import result
from unit.embedded.backtest.test_variations import DOCUMENT

from capstan.embedded.backtest.calibration import (
    Budget,
    calibrate,
    candidates_of,
    lines_of,
    most_expected,
    require_watched,
    why_too_short,
)
from capstan.embedded.backtest.grid import Finished
from capstan.embedded.backtest.variations import Policy, policies_of
from capstan.errors import InvalidSpecError
from capstan.spec import MLSystem, parse

WEEK = timedelta(days=7)
START, END = datetime(2013, 2, 1, 5, tzinfo=UTC), datetime(2014, 1, 1, 5, tzinfo=UTC)


def finished(*told: tuple[float, int, float, int]) -> list[Finished]:
    """Of (minEffect, false alarms, delay, missed of three)."""
    found = []
    for effect, false, delay, missed in told:
        one = result(0.06, missed=missed)
        one["false_alarms"], one["delay_days"] = false, delay
        one["judged_alerts"], one["failed_trainings"] = [], 0
        policy = Policy({"monitoring.drift.minEffect": f"{effect:g}"}, cast(MLSystem, None))
        found.append(Finished(policy, one))
    return found


def test_the_soonest_within_the_budget_is_proposed_with_what_it_costs() -> None:
    found = calibrate(
        finished((0.05, 14, 5, 0), (0.1, 4, 20, 0), (0.2, 1, 50, 0)), Budget.read("1/month"), WEEK
    )
    assert found.proposed is not None
    assert found.proposed.values == {"monitoring.drift.minEffect": "0.1"}
    assert found.months == pytest.approx((334 - 28) / 30.4375)
    assert found.proposed.per_month == pytest.approx(4 / found.months)
    assert found.proposed.most_per_month > found.proposed.per_month
    assert lines_of(found.proposed.values) == "  monitoring:\n    drift:\n      minEffect: 0.1"


def test_what_misses_harm_is_not_proposed_for_its_short_delay() -> None:
    found = calibrate(finished((0.1, 2, 20, 0), (0.2, 1, 5, 2)), Budget.read("1/month"), WEEK)
    assert found.proposed is not None
    assert found.proposed.missed == 0


def test_a_history_too_short_for_the_budget_is_told_before_anything_runs() -> None:
    short = START + timedelta(days=100)
    assert "that takes 35.9 months" in why_too_short(START, END, WEEK, Budget.read("1/year"))
    assert "2.4 months do not show" in why_too_short(START, short, WEEK, Budget.read("1/month"))
    assert "0.0 months" in why_too_short(START, START + 2 * WEEK, WEEK, Budget.read("1/month"))
    assert why_too_short(START, END, WEEK, Budget.read("1/month")) == ""


def test_where_no_candidate_keeps_to_the_budget_nothing_is_proposed() -> None:
    found = calibrate(finished((0.1, 30, 20.0, 0)), Budget.read("1/month"), WEEK)
    assert found.proposed is None
    assert "no candidate is shown to keep to 1/month: the fewest are 2.98" in found.why


def test_a_count_that_allows_more_than_the_budget_does_not_show_that_it_is_kept() -> None:
    found = calibrate(finished((0.1, 6, 20.0, 0)), Budget.read("1/month"), WEEK)
    assert found.candidates[0].per_month < 1 < found.candidates[0].most_per_month
    assert found.proposed is None


def test_an_alert_of_which_labels_do_not_tell_counts_as_false_unless_the_history_ends_behind_it() -> None:
    [one] = finished((0.1, 0, 20.0, 0))
    told = [{"at": (END - weeks * WEEK).isoformat(), "is_false": None} for weeks in (40, 30, 20, 10, 9, 8, 3)]
    one.result["judged_alerts"] = [*told, {"at": (END - 5 * WEEK).isoformat(), "is_false": False}]
    one.result["false_alarms"] = 1
    found = calibrate([one], Budget.read("1/month"), WEEK)
    assert (found.candidates[0].false_alarms, found.candidates[0].untold) == (7, 6)
    assert found.proposed is None


def test_a_candidate_of_which_a_training_failed_is_not_proposed() -> None:
    one, other = finished((0.1, 0, 20.0, 0), (0.2, 0, 50.0, 0))
    one.result["failed_trainings"] = 1
    found = calibrate([one, other], Budget.read("1/month"), WEEK)
    assert found.proposed is not None
    assert found.proposed.values == {"monitoring.drift.minEffect": "0.2"}
    other.result["failed_trainings"] = 2
    assert "training of every candidate failed" in calibrate([one, other], Budget.read("1/month"), WEEK).why


def test_a_history_without_harm_tells_no_delay_and_proposes_nothing() -> None:
    [one] = finished((0.1, 0, 20.0, 0))
    one.result["hurt_reigns"] = 0
    found = calibrate([one], Budget.read("1/month"), WEEK)
    assert found.proposed is None
    assert "nothing hurt" in found.why


def test_a_count_has_the_bound_that_tables_tell() -> None:
    assert [round(most_expected(seen), 2) for seen in (0, 1, 3)] == [3.0, 4.74, 7.75]


@pytest.mark.parametrize(("written", "per_month"), [("1/month", 1.0), ("3/year", 0.25), ("1/week", 4.348)])
def test_a_budget_is_read_per_month(written: str, per_month: float) -> None:
    assert Budget.read(written).per_month == pytest.approx(per_month, abs=1e-3)


@pytest.mark.parametrize("written", ["1", "0/month", "1/day", "-1/month", "a/month"])
def test_a_budget_that_is_none_is_refused_with_its_form(written: str) -> None:
    with pytest.raises(InvalidSpecError, match=r"NUMBER/month"):
        Budget.read(written)


def test_candidates_are_around_the_files_own_values_and_of_monitoring_alone() -> None:
    system = parse(DOCUMENT, base_dir=Path())
    policies = policies_of(system, DOCUMENT, candidates_of(system))
    assert len(policies) >= 20
    own = system.spec.monitoring
    assert any(
        (one.system.spec.monitoring.drift.min_effect, one.system.spec.monitoring.quality.max_drop)
        == (own.drift.min_effect, own.quality.max_drop)
        for one in policies
    )
    with pytest.raises(InvalidSpecError, match="no threshold of an alert"):
        require_watched(["retraining.cooldown=7d"])
