"""When a retraining may start."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capstan.domain.retraining import (
    Backoff,
    Budget,
    RetrainingPolicy,
    RetrainingState,
    ended,
    find_due,
    find_hold,
    newest,
    started,
)
from capstan.domain.triggers import Alert, DriftTrigger, QualityTrigger, Trigger, TriggerKind, TriggerSight
from capstan.domain.versions import VersionName

NOW = datetime(2013, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
V1 = VersionName("v1")
POLICY = RetrainingPolicy((DriftTrigger(),), cooldown=14 * DAY, budget=Budget(2, 30 * DAY))
ALERT = Trigger(TriggerKind.ALERT, NOW, "drift", ("a",))
MANUAL = Trigger(TriggerKind.MANUAL, NOW, "a person asked for it")


def alert(mark: str, days: int = 0, trigger: str = "drift", version: str = "v1") -> Alert:
    name = "QualityDropped" if trigger == "quality" else "DriftDetected"
    return Alert(name, VersionName(version), mark, NOW - days * DAY, f"because of {mark}", trigger)


def due(alerts: list[Alert], policy: RetrainingPolicy = POLICY) -> Trigger | None:
    return find_due(policy.triggers, TriggerSight(V1, tuple(alerts)), RetrainingState(), NOW)


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 5)), min_size=1), st.randoms())
def test_repeats_and_order_of_alerts_do_not_matter(
    raised: list[tuple[str, int]], shuffler: random.Random
) -> None:
    """FAULTS 18, 27, 28."""
    alerts = [alert(mark, days) for mark, days in dict(raised).items()]
    shuffled = [*alerts, *alerts]
    shuffler.shuffle(shuffled)
    assert due(shuffled) == due(alerts)


def test_a_trigger_is_as_of_the_newest_alert_and_names_all() -> None:
    trigger = due([alert("a", 3), alert("b", 1), alert("c", 2)])
    assert trigger is not None
    assert (trigger.as_of, trigger.alerts) == (NOW - DAY, ("a", "b", "c"))
    assert trigger.reason.startswith("DriftDetected: because of b")


@pytest.mark.parametrize(
    "other", [alert("a", version="v2"), alert("a", trigger="quality")], ids=["version", "trigger"]
)
def test_alerts_of_other_versions_and_triggers_start_nothing(other: Alert) -> None:
    assert due([other]) is None


def test_alerts_of_several_rules_make_one_trigger_that_names_all() -> None:
    both = replace(POLICY, triggers=(QualityTrigger(), DriftTrigger()))
    raised = [alert("a", 2), alert("b", 3, trigger="quality"), alert("c", 1)]
    trigger = due(raised, both)
    assert trigger is not None
    assert (trigger.as_of, trigger.alerts) == (NOW - DAY, ("a", "b", "c"))
    assert trigger.reason == (
        "DriftDetected: because of c; DriftDetected: because of a; QualityDropped: because of b"
    )
    assert due([*raised, alert("d", trigger="")], both) == trigger


def test_the_newest_trigger_is_kept() -> None:
    old = replace(ALERT, as_of=NOW - DAY)
    assert newest(old, None, ALERT) == newest(ALERT, old) == ALERT
    assert newest(ALERT, MANUAL) == MANUAL
    assert newest(None) is None


@pytest.mark.parametrize(
    ("state", "reason", "until"),
    [
        (RetrainingState(circuit_open=True, failures=5), "CircuitOpen", None),
        (RetrainingState(unpromoted=3), "LoopBroken", None),
        (RetrainingState(failures=3, failed_at=NOW), "BackingOff", NOW + timedelta(hours=4)),
        (RetrainingState(finished_at=NOW - DAY), "CoolingDown", NOW + 13 * DAY),
        (RetrainingState(starts=(NOW - 29 * DAY, NOW - 20 * DAY)), "BudgetSpent", NOW + DAY),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_hold_says_which_rule_and_until_when(
    state: RetrainingState, reason: str, until: datetime | None
) -> None:
    hold = find_hold(state, POLICY, ALERT, NOW)
    assert hold is not None
    assert (hold.reason, hold.until) == (reason, until)
    if until is not None:
        assert find_hold(state, POLICY, ALERT, until) is None


def test_periods_under_a_day_are_told_in_minutes_and_one_run_is_one() -> None:
    brief = replace(POLICY, cooldown=timedelta(minutes=5), budget=Budget(1, timedelta(hours=12)))
    cooling = find_hold(RetrainingState(finished_at=NOW), brief, ALERT, NOW)
    spent = find_hold(RetrainingState(starts=(NOW - timedelta(hours=1),)), brief, ALERT, NOW)
    assert cooling is not None
    assert spent is not None
    assert cooling.message.startswith("cooldown of 5 min lasts until")
    assert spent.message.startswith("1 run in the last 12 h is the budget of 1;")


def test_a_persons_wish_waits_for_neither_cooldown_nor_budget_but_for_the_circuit() -> None:
    busy = RetrainingState(finished_at=NOW, starts=(NOW, NOW))
    assert find_hold(busy, POLICY, MANUAL, NOW) is None
    assert find_hold(replace(busy, circuit_open=True), POLICY, MANUAL, NOW) is not None


def test_approval_is_good_for_one_run() -> None:
    policy = replace(POLICY, needs_approval=True)
    state = RetrainingState()
    assert find_hold(state, policy, ALERT, NOW) is not None
    approved = replace(state, approved=True)
    assert find_hold(approved, policy, ALERT, NOW) is None
    assert not started(approved, policy, ALERT, NOW).approved


def test_failures_open_the_circuit_and_a_success_resets_the_count() -> None:
    policy = replace(POLICY, backoff=Backoff(circuit_after=2))
    once = ended(RetrainingState(), policy, NOW, failed=True, promotable=False)
    twice = ended(once, policy, NOW, failed=True, promotable=False)
    assert (once.circuit_open, twice.circuit_open) == (False, True)
    after = ended(once, policy, NOW, failed=False, promotable=False)
    assert (after.failures, after.unpromoted, after.attempt) == (0, 1, 2)


@given(st.integers(1, 10_000))
def test_backoff_doubles_up_to_its_maximum(failures: int) -> None:
    backoff = Backoff(timedelta(hours=1), timedelta(days=2))
    assert backoff.delay(failures) == min(timedelta(hours=2 ** min(failures - 1, 20)), timedelta(days=2))
    assert backoff.delay(0) == timedelta(0)


def test_a_person_overrides_backoff_cooldown_and_budget_once_and_no_breaker() -> None:
    busy = RetrainingState(failures=3, failed_at=NOW, finished_at=NOW, starts=(NOW, NOW), unpromoted=3)
    assert find_hold(busy, POLICY, MANUAL, NOW) is not None
    asked = replace(busy, asked=True, approved=True)
    assert find_hold(asked, POLICY, MANUAL, NOW) is None
    assert find_hold(asked, POLICY, ALERT, NOW) is None, "an alert that came meanwhile does not undo the wish"
    assert find_hold(replace(asked, circuit_open=True), POLICY, MANUAL, NOW) is not None
    once = started(replace(asked, unpromoted=0), POLICY, MANUAL, NOW)
    again = ended(once, POLICY, NOW, failed=True, promotable=False)
    hold = find_hold(again, POLICY, MANUAL, NOW)
    assert hold is not None
    assert hold.reason == "BackingOff", "what fails again waits again, or it would fail five times at once"
    assert "or `capstan retrain`" in hold.message
