"""The suite of triggers."""

from __future__ import annotations

from dataclasses import is_dataclass, replace
from datetime import UTC, datetime

from capstan.domain.retraining import RetrainingState, find_due
from capstan.domain.triggers import Alert, Trigger, TriggerKind, TriggerRule, TriggerSight
from capstan.domain.versions import VersionName
from capstan.testing.conformance import Suite

_NOW = datetime(2013, 6, 1, tzinfo=UTC)


def check_trigger(
    rule: TriggerRule,
    *,
    seen: TriggerSight,
    state: RetrainingState | None = None,
    now: datetime = _NOW,
    idle: TriggerSight | None = None,
) -> None:
    """Ask the rule at a moment at which it is due and at one at which it is not; raises NotConformingError.

    `seen`, `state` and `now`: a moment at which a training is due by the rule. `idle`: what is seen where none is due,
    in a system that has just trained; left out, the same without alerts.
    """
    state = state if state is not None else RetrainingState()
    suite = Suite(type(rule).__name__)
    with suite.rule("it is a frozen dataclass with a name"):
        assert is_dataclass(rule), "it is no dataclass"
        assert rule.__dataclass_params__.frozen, "it can be changed"
        assert rule.name.isidentifier(), f"name {rule.name!r} is no key of a file"
    due: Trigger | None = None
    with suite.rule("it is due when it should be"):
        due = rule.due(seen, state, now)
        assert due is not None, "due() is None"
    if due is not None:
        _check_due(suite, rule, due, seen, state, now)
    with suite.rule("it is not due where nothing happened"):
        quiet = idle if idle is not None else TriggerSight(seen.champion, champion_since=seen.champion_since)
        found = rule.due(
            quiet,
            RetrainingState(attempt=state.attempt + 1, starts=(now,), begun=now, as_of=now, finished_at=now),
            now,
        )
        assert found is None, f"due() is {found}"
    suite.require()


def _check_due(
    suite: Suite, rule: TriggerRule, due: Trigger, seen: TriggerSight, state: RetrainingState, now: datetime
) -> None:
    with suite.rule("due is a function of its arguments"):
        assert rule.due(seen, state, now) == due, "asked again it answers otherwise"
        backwards = replace(seen, alerts=seen.alerts[::-1] * 2)
        assert rule.due(backwards, state, now) == due, "order and repeats of alerts make a difference"
    with suite.rule("the trigger says why, and as of when"):
        assert due.reason.strip(), "the reason is empty"
        assert due.as_of.tzinfo is not None, "as_of has no zone"
        assert due.as_of <= now, f"as_of {due.as_of} is after now: training would read the future"
        assert due.kind not in (TriggerKind.INITIAL, TriggerKind.MANUAL), (
            f"{due.kind} is not for rules of the file"
        )
        if due.kind is not TriggerKind.COMBINED:
            assert (due.kind is TriggerKind.ALERT) == bool(due.alerts), (
                "alerts and only they make a trigger of kind Alert"
            )
    with suite.rule("it speaks about the champion alone"):
        known = {alert.fingerprint for alert in seen.alerts if alert.version == seen.champion}
        assert set(due.alerts) <= known, "it names alerts that are not the champion's"
        others = tuple(_about_another(alert) for alert in seen.alerts)
        if due.alerts:
            assert rule.due(replace(seen, alerts=others), state, now) is None, (
                "alerts about another version start a training"
            )
    with suite.rule("beside other rules it still counts"):
        assert find_due((rule, rule), seen, state, now) == due, "two equal rules are not one"


def _about_another(alert: Alert) -> Alert:
    return Alert(
        alert.name, VersionName("another"), alert.fingerprint, alert.as_of, alert.summary, alert.trigger
    )
