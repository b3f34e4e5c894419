"""When the calendar is due, also where clocks are set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capstan.domain.retraining import RetrainingState
from capstan.domain.triggers import ScheduleTrigger, TriggerSight
from capstan.domain.versions import VersionName

V1 = VersionName("v1")
MONDAY = datetime(2013, 3, 4, 11, 0, tzinfo=UTC)
"""Six o'clock in New York, in winter."""
MONDAYS = ScheduleTrigger("0 6 * * MON", "America/New_York")
SINCE = TriggerSight(V1, champion_since=datetime(2013, 2, 26, tzinfo=UTC))


@pytest.mark.parametrize(
    ("now", "moment"),
    [
        (MONDAY - timedelta(seconds=1), MONDAY - timedelta(days=7)),
        (MONDAY, MONDAY),
        (MONDAY + timedelta(seconds=59), MONDAY),
        # Clocks were set on the 10th: six o'clock came an hour earlier.
        (MONDAY + timedelta(days=7), MONDAY + timedelta(days=6, hours=23)),
    ],
)
def test_the_newest_moment_is_that_of_the_zone(now: datetime, moment: datetime) -> None:
    assert MONDAYS.last(now) == moment


def test_a_moment_that_the_clock_leaps_over_comes_right_after_and_one_that_comes_twice_once() -> None:
    nightly = ScheduleTrigger("30 2 * * *", "America/New_York")
    assert nightly.last(datetime(2013, 3, 10, 12, tzinfo=UTC)) == datetime(2013, 3, 10, 7, 0, tzinfo=UTC)
    early = ScheduleTrigger("30 1 * * *", "America/New_York")
    first = datetime(2013, 11, 3, 5, 30, tzinfo=UTC)
    assert early.last(first + timedelta(hours=1)) == first
    assert early.next(first) == datetime(2013, 11, 4, 6, 30, tzinfo=UTC)


@given(
    st.sampled_from(["0 6 * * MON", "*/7 3 * * *", "15 2 1,15 * *", "0 */5 * * *", "30 2 29 2 *"]),
    st.sampled_from(["UTC", "America/New_York", "Australia/Lord_Howe"]),
    st.datetimes(datetime(2012, 1, 1), datetime(2014, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_the_last_moment_is_the_one_before_the_next(cron: str, zone: str, now: datetime) -> None:
    rule = ScheduleTrigger(cron, zone)
    last, after = rule.last(now), rule.next(now)
    assert last is not None
    assert after is not None
    assert last <= now < after
    assert rule.next(last) == after
    assert rule.last(after) == after


def test_it_is_due_once_for_each_moment() -> None:
    due = MONDAYS.due(SINCE, RetrainingState(), MONDAY)
    assert due is not None
    assert due.as_of == MONDAY
    assert due.reason == "schedule 0 6 * * MON: 2013-03-04 06:00 EST"
    # It stays the same while something holds it, and is over once a training has begun.
    assert MONDAYS.due(SINCE, RetrainingState(), MONDAY + timedelta(days=1)) == due
    assert MONDAYS.due(SINCE, RetrainingState(begun=MONDAY), MONDAY + timedelta(days=1)) is None
    assert MONDAYS.due(SINCE, RetrainingState(begun=MONDAY), MONDAY + timedelta(days=7)) is not None


def test_a_champion_that_nobody_trained_here_waits_for_the_next_moment() -> None:
    younger = TriggerSight(V1, champion_since=MONDAY + timedelta(minutes=1))
    assert MONDAYS.due(younger, RetrainingState(), MONDAY + timedelta(days=1)) is None
    assert MONDAYS.due(TriggerSight(V1), RetrainingState(), MONDAY) is None
