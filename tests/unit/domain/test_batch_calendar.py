"""Claims about which rows a batch by the calendar has: every row once, whatever was down meanwhile."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from capstan.domain.batch_calendar import (
    MOST_ENDED,
    MOST_TOLD,
    BatchOrder,
    BatchState,
    BatchStatus,
    Stretch,
    next_batch,
)
from capstan.domain.training import RunPhase
from capstan.domain.triggers.schedule import ScheduleTrigger
from capstan.domain.versions import Digest, ModelVersion, RunName, VersionName

AT_THREE = ScheduleTrigger("0 3 * * *")
SERVES = datetime(2026, 3, 1, 10, tzinfo=UTC)
DONE = BatchStatus(RunPhase.SUCCEEDED, read=1000, written=998, refused=2, output="there", seconds=4.2)
WRONG = BatchStatus(RunPhase.FAILED, "why")
V1 = ModelVersion(VersionName("v1"), Digest("sha256:1"), RunName("run"), "flights:1", SERVES)


def at(day: int, hour: int = 3, minute: int = 0) -> datetime:
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("state", "now", "due"),
    [
        (BatchState(), at(1, 12), None),
        (BatchState(), at(2, 2, 59), None),
        (BatchState(), at(2), Stretch(at(1), at(2))),
        (BatchState(), at(4, 12), Stretch(at(1), at(4))),
        (BatchState(done_to=at(2)), at(2, 23), None),
        (BatchState(done_to=at(2)), at(3, 3, 1), Stretch(at(2), at(3))),
        (BatchState(done_to=at(2)), at(6, 12), Stretch(at(2), at(6))),
        (BatchState(done_to=at(2), begun=BatchOrder(Stretch(at(2), at(3)), V1)), at(6), None),
        (
            BatchState(
                done_to=at(2), begun=BatchOrder(Stretch(at(2), at(3)), V1), failures=1, failed_at=at(3)
            ),
            at(6),
            Stretch(at(2), at(3)),
        ),
    ],
    ids=[
        "moments before the champion are not made up for",
        "not yet",
        "the first has the rows since the moment before",
        "nobody was there from the start",
        "once a day",
        "the next goes on where the last ended",
        "one batch for all that was missed",
        "what was begun is at work",
        "what has failed comes first and stays the same",
    ],
)
def test_rows_since_the_last_batch_are_due(state: BatchState, now: datetime, due: Stretch | None) -> None:
    assert next_batch(AT_THREE, state, since=SERVES, now=now) == due


@pytest.mark.parametrize(
    ("serves", "looked", "due"),
    [
        (SERVES, at(1, 10, 1), Stretch(at(1), at(7))),
        (at(1) - timedelta(days=300), at(6), Stretch(at(5), at(7))),
    ],
    ids=["down since soon after the champion serves", "asked for long after the champion serves"],
)
def test_no_moment_is_missed_from_the_first_look_on(serves: datetime, looked: datetime, due: Stretch) -> None:
    state = BatchState().follow(AT_THREE, serves, looked)
    assert state.follow(AT_THREE, at(7), at(7)) == state
    assert state.since is not None
    assert next_batch(AT_THREE, state, since=state.since, now=at(7)) == due
    done = state.begin(due, V1).finish("told", DONE, at(7))
    assert done.follow(AT_THREE, serves, at(8)) == done


def test_finished_batches_follow_each_other_without_a_gap_or_an_overlap() -> None:
    state, found = BatchState(), []
    for day in (2, 3, 3, 7, 8):
        stretch = next_batch(AT_THREE, state, since=SERVES, now=at(day, 4))
        if stretch is not None:
            found.append(stretch)
            state = state.begin(stretch, V1).finish("told", DONE, at(day, 4))
    assert [one.start for one in found[1:]] == [one.end for one in found[:-1]]
    assert (found[0].start, found[-1].end) == (at(1), at(8))


def test_what_fails_is_tried_again_later_and_later() -> None:
    state = BatchState().begin(Stretch(at(1), at(2)), V1)
    waits = []
    now = at(2)
    for _ in range(9):
        state = state.fail("why", WRONG, now)
        wait = timedelta(0)
        while next_batch(AT_THREE, state, since=SERVES, now=now + wait) is None:
            wait += timedelta(minutes=1)
        waits.append(wait // timedelta(minutes=1))
        state = state.begin(Stretch(at(1), at(2)), V1)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    (failed,) = state.ended
    assert (failed.attempt, failed.phase, failed.message) == (9, RunPhase.FAILED, "why")
    done = state.finish("told", DONE, at(3))
    assert done == BatchState(done_to=at(2), told="told", ended=done.ended)
    (written,) = done.ended
    assert (written.attempt, written.written, written.seconds, written.message) == (10, 998, 4.2, "")


def test_the_newest_batches_are_remembered_and_the_one_at_work_comes_last() -> None:
    state = BatchState()
    for number in range(MOST_ENDED + 3):
        first = at(1) + timedelta(days=number)
        state = state.begin(Stretch(first, first + timedelta(days=1)), V1).finish("told", DONE, first)
    assert [one.stretch.start for one in state.ended] == [
        at(1) + timedelta(days=number) for number in range(3, MOST_ENDED + 3)
    ]
    last = Stretch(at(1), at(2))
    running = state.begin(last, V1)
    assert running.listed[:-1] == running.ended
    assert (running.listed[-1].stretch, running.listed[-1].phase) == (last, RunPhase.RUNNING)
    assert running.listed[-1].ended_at is None
    failed = running.fail("why", replace(WRONG, message="why " * 999), at(2))
    assert failed.listed == failed.ended
    assert len(failed.listed[-1].message) == MOST_TOLD
    again = failed.begin(last, V1)
    assert [one.phase for one in again.listed if one.stretch == last] == [RunPhase.RUNNING]


def test_the_calendar_is_of_its_zone() -> None:
    zoned = ScheduleTrigger("0 3 * * *", "America/New_York")
    assert next_batch(zoned, BatchState(), since=SERVES, now=at(2, 8)) == Stretch(at(1, 8), at(2, 8))


def test_a_clock_that_goes_back_is_not_waited_for() -> None:
    failed = BatchState().begin(Stretch(at(1), at(2)), V1).fail("why", WRONG, at(9))
    assert next_batch(AT_THREE, failed, since=SERVES, now=at(9)) is None
    assert next_batch(AT_THREE, failed, since=SERVES, now=at(8)) == Stretch(at(1), at(2))
