"""Which requests were answered lately: all whose payloads are not in Parquet yet, and some that are.

Built from the write-ahead log, as the ledger is: a collector that starts again knows them again. Memory is bounded by
the two limits, some 100 bytes an id, however many payloads are stored.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from itertools import compress, repeat

from capstan.recording.blocks import Rows

_LETTERS = (("r", "request_id"), ("i", "entity_id"), ("u", "unit"))
"""First letter of a case, and the column that holds its id."""
MOST_STORED = 100_000
"""Ids that are kept though they can be read from Parquet too: most entries are about something recent."""
MOST_WAITING = 1_000_000
"""Ids that wait for their flush; only where flushes fail for long there are more."""


class RecentRequests:
    """Ids of answered requests; may be used by several threads."""

    def __init__(self, *, most_stored: int = MOST_STORED, most_waiting: int = MOST_WAITING) -> None:
        self._most_stored = most_stored
        self._most_waiting = most_waiting
        self._lock = threading.Lock()
        self._waiting: dict[int, set[int]] = {}
        """Number of a log file -> ids of its payloads, each a hash: ids may be long, and this process alone reads
        them."""
        self._count = 0
        self._stored: dict[int, None] = {}
        """In the order in which they came."""
        self._beyond: set[int] = set()
        """Log files of which not every id is here."""

    def add(self, number: int, rows: Rows) -> None:
        """Note the ids of payloads that are in the log file of that number; copies and errors answer nobody."""
        answered: list[bool] | None = None
        if "shadow" in rows.each("role") or {*rows.each("status")} != {200}:
            answered = [
                role != "shadow" and status == 200
                for role, status in zip(rows.of("role"), rows.of("status"), strict=True)
            ]
        with self._lock:
            ids = self._waiting.setdefault(number, set())
            before = len(ids)
            if self._count >= self._most_waiting:
                self._beyond.add(number)
                return
            for letter, name in _LETTERS:
                values = rows.each(name) if answered is None else compress(rows.of(name), answered)
                cases = {letter + identity for identity in {*values} if identity is not None}
                ids.update(map(hash, zip(repeat(rows.system), cases)))
            self._count += len(ids) - before

    def move_to_stored(self, number: int) -> None:
        """The payloads of that log file are in Parquet now."""
        with self._lock:
            ids = self._waiting.pop(number, set())
            self._count -= len(ids)
            self._beyond.discard(number)
            for identity in ids:
                self._stored.pop(identity, None)
                self._stored[identity] = None
            while len(self._stored) > self._most_stored:
                del self._stored[next(iter(self._stored))]

    def find(self, system: str, cases: Iterable[str]) -> set[str]:
        """Those of the cases (see `Entry.case`) that a request of the system was about."""
        with self._lock:
            by_key = {_key(system, case): case for case in cases}
            keys = by_key.keys()
            found = keys & self._stored.keys()
            for ids in self._waiting.values():
                found |= keys & ids
            return {by_key[key] for key in found}

    @property
    def is_whole(self) -> bool:
        """Whether each id that waits for its flush is here."""
        return not self._beyond


def _key(system: str, case: str) -> int:
    return hash((system, case))
