"""Every trigger keeps its suite, and the suite notices triggers that do not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import ClassVar

import pytest

from capstan.domain.retraining import RetrainingState, is_news
from capstan.domain.triggers import (
    TRIGGERS,
    Alert,
    AllTrigger,
    DriftTrigger,
    EstimatedQualityTrigger,
    HeardCall,
    NewDataTrigger,
    NewLabels,
    QualityTrigger,
    ScheduleTrigger,
    Trigger,
    TriggerKind,
    TriggerRule,
    TriggerSight,
    WebhookTrigger,
)
from capstan.domain.triggers.alerts import trigger_of
from capstan.domain.versions import VersionName
from capstan.spec.retraining import RetrainingTrigger
from capstan.testing import NotConformingError, check_trigger

NOW = datetime(2013, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
V1 = VersionName("v1")


def fires(trigger: str) -> TriggerSight:
    alerts = tuple(
        Alert("Any", V1, mark, NOW - days * DAY, mark, trigger) for mark, days in (("a", 2), ("b", 1))
    )
    unheeded = Alert("Other", V1, "c", NOW, "c", "")
    return TriggerSight(
        V1, (*alerts, unheeded, replace(alerts[0], version=VersionName("v0"), fingerprint="d"))
    )


def both(labels: int) -> TriggerSight:
    return replace(fires("drift"), new_labels=NewLabels(labels, NOW - 9 * DAY, NOW))


@dataclass(frozen=True)
class Due:
    """A rule at a moment at which it is due."""

    rule: TriggerRule
    seen: TriggerSight
    state: RetrainingState | None = None
    """None: nothing has been trained."""
    now: datetime = NOW


EXAMPLES: dict[str, Due] = {
    "drift": Due(DriftTrigger(), fires("drift")),
    "quality": Due(QualityTrigger(), fires("quality")),
    "estimated_quality": Due(EstimatedQualityTrigger(), fires("estimated_quality")),
    "schedule": Due(ScheduleTrigger("0 6 * * MON"), TriggerSight(V1, champion_since=NOW - 7 * DAY)),
    "new_data": Due(NewDataTrigger(1000), TriggerSight(V1, new_labels=NewLabels(1000, NOW - 9 * DAY, NOW))),
    "webhook": Due(
        WebhookTrigger("airflow"),
        TriggerSight(V1, calls={"airflow": HeardCall("msg_1", "complete", NOW - DAY)}),
    ),
    "all": Due(AllTrigger((DriftTrigger(), NewDataTrigger(1000))), both(1000)),
}


@pytest.mark.parametrize("name", TRIGGERS)
def test_a_trigger_keeps_its_suite(name: str) -> None:
    due = EXAMPLES[name]
    assert type(due.rule) is TRIGGERS[name]
    check_trigger(due.rule, seen=due.seen, state=due.state, now=due.now)


def test_all_waits_for_each_of_its_rules_and_tells_them_all() -> None:
    rule = AllTrigger((DriftTrigger(), NewDataTrigger(1000)))
    assert rule.counts_labels
    assert not AllTrigger((DriftTrigger(), QualityTrigger())).counts_labels
    state = RetrainingState()
    for seen in (fires("drift"), both(999), replace(both(1000), alerts=())):
        assert rule.due(seen, state, NOW) is None
    due = rule.due(both(1000), state, NOW)
    assert due is not None
    assert (due.kind, due.as_of, due.alerts) == (TriggerKind.COMBINED, NOW, ("a", "b"))
    assert "Any: b" in due.reason
    assert "1,000 labels are new" in due.reason
    assert rule.outlook(both(999), NOW).startswith("drift and new_data together: newData: 90 %")


def test_more_labels_are_no_news_of_what_waits_and_another_alert_is() -> None:
    rule = AllTrigger((DriftTrigger(), NewDataTrigger(1000)))
    waits, more = (rule.due(both(labels), RetrainingState(), NOW) for labels in (1000, 2000))
    fewer = replace(both(2000), alerts=both(2000).alerts[:1])
    other = rule.due(fewer, RetrainingState(), NOW)
    assert more is not None
    assert other is not None
    assert is_news(more, None)
    assert not is_news(more, waits)
    assert is_news(other, waits)


def test_every_trigger_is_a_key_of_the_file() -> None:
    assert set(TRIGGERS) == set(RetrainingTrigger.members)


@dataclass(frozen=True)
class EveryWeek(TriggerRule):
    """A rule of nobody's module, without alerts."""

    name: ClassVar[str] = "every_week"

    def due(self, seen: TriggerSight, state: RetrainingState, now: datetime) -> Trigger | None:
        if state.starts and now - max(state.starts) < 7 * DAY:
            return None
        return Trigger(TriggerKind.SCHEDULE, now, "a week is over")


def test_a_trigger_without_alerts_keeps_the_suite_too() -> None:
    check_trigger(EveryWeek(), seen=TriggerSight(V1), state=RetrainingState(starts=(NOW - 8 * DAY,)), now=NOW)


class OfAnyVersion(DriftTrigger):
    def due(self, seen: TriggerSight, state: RetrainingState, now: datetime) -> Trigger | None:
        return trigger_of([alert for alert in seen.alerts if alert.trigger == self.name])


class Always(EveryWeek):
    def due(self, seen: TriggerSight, state: RetrainingState, now: datetime) -> Trigger | None:
        return Trigger(TriggerKind.SCHEDULE, now, "why not")


class Never(DriftTrigger):
    def due(self, seen: TriggerSight, state: RetrainingState, now: datetime) -> Trigger | None:
        return None


class Prophet(EveryWeek):
    def due(self, seen: TriggerSight, state: RetrainingState, now: datetime) -> Trigger | None:
        due = super().due(seen, state, now)
        return replace(due, as_of=now + DAY) if due else None


class Mute(DriftTrigger):
    def due(self, seen: TriggerSight, state: RetrainingState, now: datetime) -> Trigger | None:
        due = super().due(seen, state, now)
        return replace(due, reason="") if due else None


class Pretender(EveryWeek):
    def due(self, seen: TriggerSight, state: RetrainingState, now: datetime) -> Trigger | None:
        due = super().due(seen, state, now)
        return replace(due, kind=TriggerKind.MANUAL) if due else None


class FirstOnly(DriftTrigger):
    def due(self, seen: TriggerSight, state: RetrainingState, now: datetime) -> Trigger | None:
        return super().due(TriggerSight(seen.champion, seen.alerts[:1]), state, now)


class Counting(EveryWeek):
    calls: ClassVar = count()

    def due(self, seen: TriggerSight, state: RetrainingState, now: datetime) -> Trigger | None:
        due = super().due(seen, state, now)
        return replace(due, reason=f"call {next(self.calls)}") if due else None


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (OfAnyVersion(), "not the champion's"),
        (Always(), "it is not due where nothing happened"),
        (Never(), "due.. is None"),
        (Prophet(), "training would read the future"),
        (Mute(), "the reason is empty"),
        (Pretender(), "not for rules of the file"),
        (FirstOnly(), "order and repeats of alerts make a difference"),
        (Counting(), "asked again it answers otherwise"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, TriggerRule) else "",
)
def test_the_suite_notices_a_trigger_that_is(rule: TriggerRule, says: str) -> None:
    with pytest.raises(NotConformingError, match=says):
        check_trigger(rule, seen=fires("drift"))
