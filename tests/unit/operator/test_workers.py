"""Claims about the threads that look at systems."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from capstan_operator.metrics import Metrics
from capstan_operator.workers import Key, Workers


def until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def started() -> Iterator[list[Workers]]:
    made: list[Workers] = []
    yield made
    for workers in made:
        workers.stop(5.0)


def test_no_system_is_looked_at_by_two_threads(started: list[Workers]):
    now: Counter[Key] = Counter()
    most: Counter[Key] = Counter()
    looks = Counter[Key]()
    lock = threading.Lock()

    def look(key: Key) -> None:
        with lock:
            now[key] += 1
            looks[key] += 1
            most[key] = max(most[key], now[key])
        time.sleep(0.002)
        with lock:
            now[key] -= 1

    workers = Workers(look, Metrics(), threads=4)
    started.append(workers)
    workers.start()
    for _ in range(100):
        for name in "abc":
            workers.hint(("n", name))
        time.sleep(0.001)
    until(lambda: sum(looks.values()) >= 6)
    assert set(most.values()) == {1}


def test_a_look_that_breaks_leaves_its_thread_and_the_other_systems_alone(started: list[Workers]):
    seen = threading.Event()

    def look(key: Key) -> None:
        if key[1] == "broken":
            raise ZeroDivisionError
        seen.set()

    metrics = Metrics()
    workers = Workers(look, metrics, threads=1)
    started.append(workers)
    workers.start()
    workers.add(("n", "broken"))
    workers.add(("n", "fine"))
    assert seen.wait(10.0)
    assert workers.dead() == []
    assert b'capstan_reconcile_errors_total{error="ZeroDivisionError"} 1.0' in metrics.text()


def test_stopping_waits_for_the_running_look_and_takes_no_other(started: list[Workers]):
    begun, ended, looked = threading.Event(), threading.Event(), []

    def look(key: Key) -> float:
        looked.append(key)
        begun.set()
        time.sleep(0.3)
        ended.set()
        return 0.0

    workers = Workers(look, Metrics(), threads=1)
    workers.start()
    workers.add(("n", "a"))
    workers.add(("n", "b"))
    assert begun.wait(10.0)
    assert workers.stop(10.0)
    assert ended.is_set()
    assert len(looked) == 1


def test_a_stuck_look_is_seen_and_not_waited_for_for_ever(started: list[Workers]):
    release = threading.Event()
    workers = Workers(lambda _: release.wait(30.0) and None, Metrics(), threads=1)  # type: ignore[arg-type, func-returns-value]
    workers.start()
    workers.add(("n", "a"))
    until(lambda: workers.longest_look_seconds() > 0.2)
    assert not workers.stop(0.1)
    release.set()
