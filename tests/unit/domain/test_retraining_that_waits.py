"""What is asked for more often than it may start: a hint before, and a state that is not written for each label."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from capstan.domain.retraining import Budget, RetrainingPolicy, in_vain, is_news, too_often
from capstan.domain.triggers import (
    AllTrigger,
    DriftTrigger,
    NewDataTrigger,
    QualityTrigger,
    Trigger,
    TriggerKind,
)
from capstan.domain.triggers.schedule import ScheduleTrigger

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def policy(cron: str, *, cooldown: timedelta, runs: int) -> RetrainingPolicy:
    return RetrainingPolicy((ScheduleTrigger(cron),), cooldown=cooldown, budget=Budget(runs, 30 * DAY))


@pytest.mark.parametrize(
    ("cron", "cooldown", "runs", "said"),
    [
        ("0 6 * * MON", DAY, 5, ""),
        ("0 6 * * *", 2 * DAY, 40, "comes after 1 day, and a cooldown of 2 days follows"),
        ("0 6 * * *", DAY, 4, "comes 30 times in 30 days, and the budget lets 4 trainings start"),
        ("* * * * *", timedelta(0), 4, "comes 1000 times or more in 30 days"),
        ("0 6 1 * *", 14 * DAY, 1, ""),
    ],
)
def test_a_schedule_that_comes_more_often_than_trainings_may_start_is_told(
    cron: str, cooldown: timedelta, runs: int, said: str
) -> None:
    found = too_often(policy(cron, cooldown=cooldown, runs=runs), NOW)
    assert [said in text for text in found] == ([True] if said else [])


def test_an_all_that_starts_nothing_beside_one_of_its_reasons_is_told() -> None:
    both = AllTrigger((DriftTrigger(), NewDataTrigger(1000)))
    assert in_vain(RetrainingPolicy((both, QualityTrigger()))) == []
    # With other settings it is another reason.
    assert in_vain(RetrainingPolicy((both, NewDataTrigger(50_000)))) == []
    [told] = in_vain(RetrainingPolicy((DriftTrigger(), both)))
    assert told.startswith("drift and new_data together starts nothing that drift does not start alone")
    [told] = in_vain(RetrainingPolicy((DriftTrigger(), both, NewDataTrigger(1000))))
    assert "drop drift and new_data beside it, or the `all`" in told


def test_labels_that_come_while_a_trigger_is_held_are_no_news_and_another_trigger_is() -> None:
    first, later = (Trigger(TriggerKind.NEW_DATA, NOW + n * DAY, f"{n} labels") for n in (1, 2))
    alert = Trigger(TriggerKind.ALERT, NOW, "drift", ("a",))
    assert is_news(first, None)
    assert not is_news(later, first)
    assert is_news(later, alert)
    assert is_news(alert, first)
    assert not is_news(alert, alert)
