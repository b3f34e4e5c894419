"""Claims about who is looked at next."""

from __future__ import annotations

import pytest

from capstan_operator.queue import KeyQueue, RetryDelays


@pytest.fixture
def queue() -> KeyQueue[str]:
    return KeyQueue(RetryDelays(first_seconds=1.0, longest_seconds=60.0))


def drain(queue: KeyQueue[str], now: float) -> list[str]:
    """Take and finish everything that is due."""
    taken = []
    while (key := queue.take(now=now)) is not None:
        taken.append(key)
        queue.done(key, now=now, after=None)
    return taken


def test_a_key_that_is_added_many_times_is_looked_at_once(queue: KeyQueue[str]):
    for _ in range(1000):
        queue.add("a", now=0.0)
    assert drain(queue, 0.0) == ["a"]


def test_no_key_is_looked_at_twice_at_a_time(queue: KeyQueue[str]):
    queue.add("a", now=0.0)
    assert queue.take(now=0.0) == "a"
    queue.add("a", now=0.0)
    assert queue.take(now=0.0) is None
    queue.done("a", now=1.0, after=None)
    assert queue.take(now=1.0) == "a"


def test_what_happens_during_a_look_brings_another_though_the_look_plans_none(queue: KeyQueue[str]):
    queue.add("a", now=0.0)
    queue.take(now=0.0)
    queue.add("a", now=0.5)
    queue.done("a", now=1.0, after=300.0)
    assert queue.next_due() == 0.5


def test_an_earlier_wish_wins_and_a_later_one_is_no_delay(queue: KeyQueue[str]):
    queue.add("a", now=0.0, after=30.0)
    queue.add("a", now=0.0, after=5.0)
    queue.add("a", now=0.0, after=60.0)
    assert queue.take(now=4.9) is None
    assert queue.take(now=5.0) == "a"


def test_a_system_that_always_wants_more_starves_nobody(queue: KeyQueue[str]):
    for key in ("busy", "b", "c", "d"):
        queue.add(key, now=0.0)
    order = []
    for moment in range(8):
        key = queue.take(now=float(moment))
        if key is None:
            break
        order.append(key)
        queue.done(key, now=float(moment), after=0.0 if key == "busy" else None)
    assert order[:5] == ["busy", "b", "c", "d", "busy"]


def test_errors_double_the_rest_up_to_a_bound(queue: KeyQueue[str]):
    now, rests = 0.0, []
    queue.add("a", now=now)
    for _ in range(9):
        due = queue.next_due()
        assert due is not None
        now = max(now, due)
        assert queue.take(now=now) == "a"
        rests.append(queue.failed("a", now=now))
    assert rests == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


def test_what_merely_happens_does_not_end_a_rest(queue: KeyQueue[str]):
    queue.add("a", now=0.0)
    queue.take(now=0.0)
    queue.failed("a", now=0.0)
    queue.add("a", now=0.1)
    assert queue.take(now=0.5) is None
    assert queue.take(now=1.0) == "a"


def test_a_hint_ends_a_rest(queue: KeyQueue[str]):
    queue.add("a", now=0.0)
    queue.take(now=0.0)
    queue.failed("a", now=0.0)
    queue.hint("a", now=0.1)
    assert queue.take(now=0.1) == "a"


def test_a_hint_during_a_failing_look_is_not_put_off_for_minutes(queue: KeyQueue[str]):
    queue.add("a", now=0.0)
    for _ in range(10):
        queue.hint("a", now=0.0)
        queue.take(now=0.0)
        queue.failed("a", now=0.0)
    queue.hint("a", now=0.0)
    assert queue.take(now=0.0) == "a"
    queue.hint("a", now=0.0)
    assert queue.failed("a", now=0.0) == 1.0


def test_a_success_forgets_earlier_errors(queue: KeyQueue[str]):
    queue.add("a", now=0.0)
    for moment in (0.0, 1.0, 3.0):
        assert queue.take(now=moment) == "a"
        queue.failed("a", now=moment)
    queue.take(now=7.0)
    queue.done("a", now=7.0, after=0.0)
    queue.take(now=7.0)
    assert queue.failed("a", now=7.0) == 1.0


def test_a_forgotten_key_is_not_taken(queue: KeyQueue[str]):
    queue.add("a", now=0.0)
    queue.forget("a")
    assert queue.take(now=0.0) is None
    assert queue.next_due() is None


def test_nothing_is_kept_of_keys_that_ended(queue: KeyQueue[str]):
    for number in range(1000):
        queue.add(f"k{number}", now=0.0)
    drain(queue, 0.0)
    assert queue._entries == {}
    assert queue._heap == []


def test_depth_counts_what_is_due_and_waits(queue: KeyQueue[str]):
    queue.add("a", now=0.0)
    queue.add("b", now=0.0, after=10.0)
    queue.add("c", now=0.0)
    queue.take(now=0.0)
    assert (queue.depth(now=0.0), queue.waiting(), list(queue.running())) == (1, 2, ["a"])
