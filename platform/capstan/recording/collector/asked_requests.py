"""Tells a sender of labels which requests they are about: found, on their way, never asked, or not looked up.

What is posted is durable before this begins. Recent requests are in memory, the others in Parquet, where one search
at a time reads in a thread for at most LOOK_SECONDS. Searches that follow each other rest as long as they read:
however many entries about nothing come, half a core is what they cost. What there was no time for is told as unknown.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from capstan.recording.collector.boots import Boot
from capstan.recording.collector.intake import Intake, Taken
from capstan.recording.collector.stored_requests import Search, find_stored

LOOK_SECONDS = 2.0
"""Seconds that an answer waits for the search, at most."""
BURST_SECONDS = 10.0
"""Seconds of searching and resting that may be taken ahead, so that a person who looks twice need not wait."""
SETTLE_SECONDS = 0.5
"""Seconds in which services hand in what they have answered, several of their batches; an entry that comes at once is
then known."""
_STEP_SECONDS = 0.1
"""Between two looks into what has come: a batch of a service."""
_MANY = 1000
"""Entries for which memory is looked through once at the end and not at each step: the loop has payloads to take."""
UNSETTLED_SECONDS = 15.0
"""Seconds in which services have called again for certain after the collector was away or full."""
MOST_IDS = 100
"""Ids that an answer lists of each kind."""


class Request(StrEnum):
    """What is known of the request that an entry is about."""

    MATCHED = "matched"
    WAITING = "waiting"
    NEVER_ASKED = "neverAsked"
    UNKNOWN = "unknown"


class Finding(NamedTuple):
    """What was found of each entry's request, and why where it was not."""

    requests: list[Request]
    """In the order of the entries."""
    reasons: Mapping[Request, str]


class AskedRequests:
    """One per collector, on its event loop; `counts` are new entries by their form and by what was found."""

    def __init__(
        self,
        intake: Intake,
        systems: Path,
        *,
        look_seconds: float = LOOK_SECONDS,
        settle_seconds: float = SETTLE_SECONDS,
        unsettled_seconds: float = UNSETTLED_SECONDS,
        burst_seconds: float = BURST_SECONDS,
    ) -> None:
        self.counts: Counter[tuple[str, Request]] = Counter()
        self._intake = intake
        self._systems = systems
        self._look_seconds = look_seconds
        self._settle_seconds = settle_seconds
        self._unsettled_seconds = unsettled_seconds
        self._burst_seconds = burst_seconds
        self._searching = asyncio.Lock()
        self._searches: set[asyncio.Task[Search]] = set()
        """So that none is forgotten before its end."""
        self._rested_at = 0.0
        """When all searches so far and as much rest are over."""
        self._settled_at = 0.0
        self.unsettle()

    def unsettle(self) -> None:
        """Services were turned away just now, or found nobody: they hold payloads and call again later."""
        self._settled_at = time.monotonic() + self._unsettled_seconds

    async def find(self, taken: Taken, *, halves: int = 0) -> Finding:
        """What is known of the requests of these entries; `halves` of predictions wait for their other half."""
        system = taken.system
        cases = {entry.case for entry in taken.entries}
        left = cases - self._intake.recent.find(system, cases)
        reasons: dict[Request, str] = {}
        search = Search(frozenset(), True, None)
        if left:
            before = {name: boot.produced for name, boot in self._boots(system).items()}
            left, search = await self._look(system, left)
            under_way = self._under_way(system, before, halves)
            if not (search.is_whole and self._intake.recent.is_whole):
                reasons[Request.UNKNOWN] = _not_looked_up(search, self._look_seconds, taken.form.noun)
            elif under_way is not None:
                reasons[Request.WAITING] = under_way
            else:
                reasons[Request.NEVER_ASKED] = self._never_asked(system, taken.form.noun)
        other = next(iter(reasons), Request.MATCHED)
        requests = [other if entry.case in left else Request.MATCHED for entry in taken.entries]
        self.counts.update(
            (taken.form.name, request)
            for position, request in enumerate(requests)
            if position not in taken.known
        )
        return Finding(requests, reasons)

    async def _look(self, system: str, left: set[str]) -> tuple[set[str], Search]:
        """What is neither stored nor comes while services hand in what they have just answered, and the search for it.

        Ends as soon as nothing is left.
        """
        no_more = threading.Event()
        searching = asyncio.create_task(self._search(system, left, no_more.is_set))
        self._searches.add(searching)
        searching.add_done_callback(self._searches.discard)
        settled_at = time.monotonic() + self._settle_seconds
        step = _STEP_SECONDS if len(left) <= _MANY else self._settle_seconds
        while True:
            search = searching.result() if searching.done() else None
            left = left - search.found if search is not None else left
            left = left - self._intake.recent.find(system, left)
            if not left:
                # A search that goes on or waits for its turn ends by itself.
                no_more.set()
                return left, Search(frozenset(), True, None)
            if search is not None and time.monotonic() >= settled_at:
                return left, search
            if search is None:
                await asyncio.wait({searching}, timeout=step)
            else:
                await asyncio.sleep(max(0.0, min(step, settled_at - time.monotonic())))

    async def _search(self, system: str, cases: set[str], is_over: Callable[[], bool]) -> Search:
        until = time.monotonic() + self._look_seconds
        try:
            async with asyncio.timeout(self._look_seconds):
                await self._searching.acquire()
        except TimeoutError:
            return Search(frozenset(), False, None)
        try:
            rest = self._rested_at - self._burst_seconds - time.monotonic()
            if rest > 0:
                await asyncio.sleep(min(rest, max(0.0, until - time.monotonic())))
            began = time.monotonic()
            if began >= until or is_over():
                return Search(frozenset(), False, None)
            search = await asyncio.to_thread(
                find_stored, self._systems / system / "payloads", cases, until=until, is_over=is_over
            )
            self._rested_at = max(self._rested_at, began) + 2 * (time.monotonic() - began)
            return search
        finally:
            self._searching.release()

    def _boots(self, system: str) -> dict[str, Boot]:
        """Producers of the system, and those that have not named theirs, from which anything may come."""
        boots = self._intake.ledger.boots.items()
        return {name: boot for name, boot in boots if boot.system in (system, None) and not boot.ended}

    def _under_way(self, system: str, before: Mapping[str, int], halves: int) -> str | None:
        """Why the request may still come; None: whatever was answered before the entry came is here."""
        held = sum(
            max(0, before[name] - boot.accounted)
            for name, boot in self._boots(system).items()
            if name in before and not boot.silent
        )
        if held or halves:
            return f"no such request is stored yet; payloads on their way: {held + halves}"
        if time.monotonic() < self._settled_at:
            return (
                "no such request is stored yet; the collector was away or full a moment ago, "
                "and services may still hold payloads"
            )
        return None

    def _never_asked(self, system: str, noun: str) -> str:
        ledger = self._intake.ledger
        lost = sum(
            payloads
            for owner in (system, "")
            for days in ledger.losses.get(owner, {}).values()
            for payloads in days.values()
        )
        rule = f"no answered request has this id, stored or on its way; the {noun} is kept, should one come"
        return f"{rule}. Payloads lost or missing so far, which may have had it: {lost}" if lost > 0 else rule


def answer(taken: Taken, finding: Finding) -> dict[str, object]:
    """The finding as the sender is told it: of each kind the number of entries and the first ids."""
    told: dict[str, object] = {}
    for kind in Request:
        ids = [
            entry.case[1:]
            for entry, request in zip(taken.entries, finding.requests, strict=True)
            if request is kind
        ]
        said: dict[str, object] = {"count": len(ids), "ids": list(dict.fromkeys(ids))[:MOST_IDS]}
        if ids and kind in finding.reasons:
            said["why"] = finding.reasons[kind]
        told[kind.value] = said
    return told


def _not_looked_up(search: Search, seconds: float, noun: str) -> str:
    if search.unreadable is not None:
        read = f"stored requests of {search.unreadable} cannot be read"
        return f"{read}, the collector's log says why; the {noun} is taken"
    if search.oldest is not None:
        read = f"stored requests were searched back to {search.oldest} only"
    else:
        read = "stored requests could not be searched"
    return f"{read} within {seconds:g} s; the {noun} is taken. Send it again to have it looked up again"
