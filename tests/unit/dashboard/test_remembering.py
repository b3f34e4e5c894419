"""Claims about parts that are slow or away: a look waits for none of them, and shows what was known."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from capstan.dashboard.remembering import Patience, Remembered
from capstan.errors import UnavailableError


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def let_it_answer(source: Remembered[[], int]) -> None:
    """Wait for the question that is under way, however busy the machine is; it may be answered already."""
    under_way = source._questions[None].under_way
    if under_way is not None:
        wait([under_way])


def test_an_answer_is_asked_for_once_however_many_ask(pool: ThreadPoolExecutor) -> None:
    asked: list[int] = []
    source = Remembered("part", lambda: asked.append(1) or len(asked), pool, seconds=60)
    assert [source() for _ in range(20)] == [1] * 20
    assert len(asked) == 1


def test_a_part_that_hangs_holds_a_look_up_for_a_moment_and_is_called_away(pool: ThreadPoolExecutor) -> None:
    free = threading.Event()
    source = Remembered("the monitor", lambda: free.wait(10) and 7, pool, seconds=60, patience_seconds=0.1)
    began = time.monotonic()
    for _ in range(3):
        with pytest.raises(UnavailableError, match="has not answered yet"):
            source()
    assert time.monotonic() - began < 1.0
    free.set()
    let_it_answer(source)
    assert source() == 7


def test_the_last_answer_is_shown_while_the_next_is_under_way(pool: ThreadPoolExecutor) -> None:
    now = [0.0]
    answers = iter([1, 2])
    go_on = threading.Event()
    go_on.set()

    def ask() -> int:
        go_on.wait(10)
        return next(answers)

    source = Remembered("part", ask, pool, seconds=5, clock=lambda: now[0])
    assert source() == 1
    go_on.clear()
    now[0] = 5.0
    assert source() == 1
    go_on.set()
    let_it_answer(source)
    assert source() == 2


def test_an_outage_is_told_and_so_is_its_end(pool: ThreadPoolExecutor) -> None:
    now = [0.0]
    away = [True]

    def ask() -> int:
        if away[0]:
            raise UnavailableError("part", "refuses the connection")
        return 3

    source = Remembered("part", ask, pool, seconds=5, clock=lambda: now[0])
    with pytest.raises(UnavailableError, match="refuses the connection"):
        source()
    away[0] = False
    now[0] = 5.0
    with pytest.raises(UnavailableError):
        source()
    let_it_answer(source)
    assert source() == 3


def test_questions_of_different_arguments_are_kept_apart(pool: ThreadPoolExecutor) -> None:
    source = Remembered("part", lambda name: name * 2, pool, seconds=60, key=lambda name: name)
    assert (source("a"), source("b"), source("a")) == ("aa", "bb", "aa")


def test_sources_that_are_begun_together_are_waited_for_together(pool: ThreadPoolExecutor) -> None:
    free = threading.Event()
    sources = [
        Remembered(f"part {number}", lambda: free.wait(10), pool, seconds=60, patience_seconds=0.3)
        for number in range(4)
    ]
    for source in sources:
        source.begin()
    began = time.monotonic()
    for source in sources:
        with pytest.raises(UnavailableError):
            source()
    assert time.monotonic() - began < 0.6
    free.set()


def test_parts_that_are_asked_one_after_the_other_share_the_patience_of_a_look(
    pool: ThreadPoolExecutor,
) -> None:
    free = threading.Event()
    look = Patience(0.2)
    slow = [
        Remembered(f"part {n}", lambda: free.wait(10) and 7, pool, seconds=60, look=look) for n in range(3)
    ]
    look.begin()
    began = time.monotonic()
    for source in slow:
        with pytest.raises(UnavailableError):
            source()
    assert time.monotonic() - began < 3 * 0.15
    assert look.left() == 0
    assert Remembered("quick", lambda: 3, pool, seconds=60, look=look)() == 3
    free.set()
    wait([source._questions[None].under_way for source in slow])  # type: ignore[misc]
    assert [source() for source in slow] == [7] * 3, "an answer that is there needs no patience"


def test_many_parts_that_hang_cost_a_look_no_moment_each() -> None:
    look, free = Patience(0.1), threading.Event()
    with ThreadPoolExecutor(12) as pool:
        hang = [
            Remembered(f"part {n}", lambda: free.wait(10), pool, seconds=60, look=look) for n in range(12)
        ]
        look.begin()
        began = time.monotonic()
        for source in hang:
            with pytest.raises(UnavailableError):
                source()
        took = time.monotonic() - began
        free.set()
    assert took < 0.1 + 12 * 0.03
