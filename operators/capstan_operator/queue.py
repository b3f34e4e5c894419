"""Which system is looked at next: each once at a time, all in turn, failing ones ever more seldom.

Nothing here runs anything or knows the time: "now" is an argument, so whole days of a queue are tested in milliseconds.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class RetryDelays:
    """How long a key rests after errors in a row: doubling, up to a bound."""

    first_seconds: float = 1.0
    longest_seconds: float = 300.0

    def seconds(self, errors: int) -> float:
        """errors: how many in a row, at least 1."""
        return float(min(self.first_seconds * 2 ** min(errors - 1, 30), self.longest_seconds))


@dataclass
class _Entry:
    due: float | None = None
    """Time from which it may be taken; None: it is not waiting."""
    ticket: int = 0
    """Number of the heap item that counts. Older items of the key are ignored."""
    errors: int = 0
    running_since: float | None = None
    again: float | None = None
    """Time at which it is due after the present run; None: nobody asked for it meanwhile."""
    hinted: bool = False
    """Whether somebody hinted at it during the present run."""
    resting_until: float = 0.0
    """End of the rest after an error. A hint ends it early; an ordinary change does not."""


class KeyQueue(Generic[K]):
    """Keys that wait, run and rest. The one that became due first is taken first, so nobody starves.

    Not thread-safe; `Workers` locks around it.
    """

    def __init__(self, backoff: RetryDelays | None = None) -> None:
        self._backoff = backoff or RetryDelays()
        self._entries: dict[K, _Entry] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._tickets = 0

    def add(self, key: K, *, now: float, after: float = 0.0) -> None:
        """Look at the key in `after` seconds, or earlier if that was asked for already; not before a rest is over."""
        entry = self._entries.setdefault(key, _Entry())
        due = max(now + after, entry.resting_until)
        if entry.running_since is not None:
            entry.again = due if entry.again is None else min(due, entry.again)
        elif entry.due is None or due < entry.due:
            self._plan(key, entry, due)

    def hint(self, key: K, *, now: float) -> None:
        """Look at the key now, whether it rests or not."""
        entry = self._entries.setdefault(key, _Entry())
        entry.resting_until = 0.0
        entry.hinted = entry.running_since is not None
        self.add(key, now=now)

    def take(self, *, now: float) -> K | None:
        """The key that has been due longest, which then runs until `done`; None if none is due."""
        self._drop_left_over()
        if not self._heap or self._heap[0][0] > now:
            return None
        _, _, key = heapq.heappop(self._heap)
        entry = self._entries[key]
        entry.due, entry.running_since = None, now
        return key

    def done(self, key: K, *, now: float, after: float | None) -> None:
        """Note that the look is over. The next is in `after` seconds; None: only when something happens."""
        entry = self._entries[key]
        entry.errors, entry.resting_until = 0, 0.0
        self._end(key, entry, None if after is None else now + after)

    def failed(self, key: K, *, now: float) -> float:
        """Note that the look failed; returns how many seconds the key rests."""
        entry = self._entries[key]
        entry.errors += 1
        seconds = self._backoff.first_seconds if entry.hinted else self._backoff.seconds(entry.errors)
        entry.resting_until = now + seconds
        if entry.again is not None:
            entry.again = max(entry.again, entry.resting_until)
        self._end(key, entry, entry.resting_until)
        return seconds

    def forget(self, key: K) -> None:
        """The key is gone for good; no error if it is not known. A running one is forgotten when it ends."""
        entry = self._entries.get(key)
        if entry is None:
            return
        if entry.running_since is None:
            del self._entries[key]
        else:
            entry.again, entry.errors, entry.resting_until = None, 0, 0.0

    def next_due(self) -> float | None:
        """When `take` can give the next key; None: nothing waits."""
        self._drop_left_over()
        return self._heap[0][0] if self._heap else None

    def depth(self, *, now: float) -> int:
        """How many are due and not taken."""
        return sum(1 for entry in self._entries.values() if entry.due is not None and entry.due <= now)

    def waiting(self) -> int:
        """How many will be looked at without anything happening, due or not."""
        return sum(1 for entry in self._entries.values() if entry.due is not None)

    def running(self) -> dict[K, float]:
        """The keys that are looked at now, and since when."""
        return {
            key: entry.running_since
            for key, entry in self._entries.items()
            if entry.running_since is not None
        }

    def resting(self) -> int:
        """How many have failed at their last look."""
        return sum(1 for entry in self._entries.values() if entry.errors)

    def _end(self, key: K, entry: _Entry, due: float | None) -> None:
        wanted = [moment for moment in (due, entry.again) if moment is not None]
        entry.running_since, entry.again, entry.hinted = None, None, False
        if wanted:
            self._plan(key, entry, min(wanted))
        elif not entry.errors:
            # The entry says nothing that a new one would not say.
            del self._entries[key]

    def _plan(self, key: K, entry: _Entry, due: float) -> None:
        self._tickets += 1
        entry.due, entry.ticket = due, self._tickets
        heapq.heappush(self._heap, (due, self._tickets, key))

    def _drop_left_over(self) -> None:
        while self._heap:
            _, ticket, key = self._heap[0]
            entry = self._entries.get(key)
            if entry is not None and entry.due is not None and entry.ticket == ticket:
                return
            heapq.heappop(self._heap)
