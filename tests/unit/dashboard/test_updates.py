"""Claims about how often a system is looked at, however many watch it: what is away for long costs no more."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from browser import flights

from capstan.dashboard.page import Page
from capstan.dashboard.updates import SETTLES_SECONDS, UNCHANGED_SECONDS, Updates
from capstan.dashboard.view import StoreView


class Counted(StoreView):
    """A view that counts its looks; `lost` names parts that are away."""

    page: Page
    looks = 0
    lost: Sequence[str] = ()

    def snapshot(self) -> Page:
        self.looks += 1
        return replace(self.page, away=dict.fromkeys(self.lost, "does not answer"))


@pytest.fixture
def view() -> Counted:
    view = flights.canary().view()
    counted = Counted(view.store, view.system, view.clock, is_replay=True)
    counted.page = view.snapshot()
    return counted


def looks_in(view: Counted, seconds: int, now: list[float], updates: Updates) -> int:
    """Looks while somebody watches for so many seconds."""
    before = view.looks

    async def watch() -> None:
        for _ in range(seconds):
            await updates.newest()
            now[0] += 1

    asyncio.run(watch())
    return view.looks - before


def test_a_system_that_does_not_change_is_looked_at_every_few_seconds(view: Counted) -> None:
    now = [0.0]
    updates = Updates(view, mark=lambda: 1, clock=lambda: now[0])
    assert looks_in(view, 20, now, updates) == 20 / UNCHANGED_SECONDS


def test_a_part_that_goes_away_is_looked_for_each_second_for_a_while_only(view: Counted) -> None:
    now = [0.0]
    updates = Updates(view, mark=lambda: 1, clock=lambda: now[0])
    looks_in(view, 5, now, updates)
    view.lost = ("registry",)
    assert looks_in(view, int(SETTLES_SECONDS), now, updates) == SETTLES_SECONDS
    assert looks_in(view, 20, now, updates) == 20 / UNCHANGED_SECONDS
    view.lost = ("registry", "monitor")
    looks_in(view, 5, now, updates)
    assert looks_in(view, 5, now, updates) == 5, "another part is looked for soon again"


def test_a_system_that_changes_is_looked_at_each_second(view: Counted) -> None:
    now = [0.0]
    updates = Updates(view, mark=lambda: now[0], clock=lambda: now[0])
    assert looks_in(view, 10, now, updates) == 10


def test_who_opens_a_page_waits_for_no_look_at_what_others_watch(view: Counted) -> None:
    free = threading.Event()
    with ThreadPoolExecutor(1) as lookers:
        lookers.submit(free.wait, 30)
        now = [0.0]
        others = Updates(view, clock=lambda: now[0], again=lookers)

        async def come() -> bytes:
            await others.newest()
            now[0] += 60
            waiting = asyncio.ensure_future(others.newest())
            mine = await asyncio.wait_for(Updates(view, again=lookers).newest(), 5)
            assert not waiting.done(), "what is seen already is looked at again in these threads"
            free.set()
            await asyncio.wait_for(waiting, 5)
            return mine.body

        assert asyncio.run(come())
    assert view.looks == 3
