"""One look for all readers: the page's JSON, made anew at most once an interval however many browsers watch."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass

import orjson

from capstan.dashboard.view import View

FRESH_SECONDS = 0.9
UNCHANGED_SECONDS = 5.0
"""Seconds for which a snapshot is shown while nothing that is stored has changed; numbers move all the time."""
SETTLES_SECONDS = 10.0
"""Seconds for which a part that went away is looked for every second; after them as seldom as all else."""
HEARTBEAT_SECONDS = 15.0
"""Most seconds of silence; the browser opens the stream anew after three times as many."""


@dataclass(frozen=True)
class Snapshot:
    body: bytes
    digest: str


class Updates:
    """Keeps the newest snapshot and streams changes."""

    def __init__(
        self,
        view: View,
        *,
        interval_seconds: float = 1.0,
        mark: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        again: Executor | None = None,
    ) -> None:
        """`mark` is equal while nothing that is stored has changed; None: nobody can say.

        `again`: threads for all looks but the first, for which somebody waits before an empty page.
        """
        self.view = view
        self._mark = mark
        self._marked: object = None
        self._clock = clock
        self._away: frozenset[str] = frozenset()
        self._away_since = clock()
        self._interval = interval_seconds
        self._again = again
        self._lock = asyncio.Lock()
        self._newest: tuple[float, Snapshot] | None = None

    async def newest(self) -> Snapshot:
        """Newest snapshot, at most an interval, or a second, old; raises what the view raises."""
        async with self._lock:
            mark = self._mark()
            unchanged = mark is not None and mark == self._marked and self._is_settled
            fresh = UNCHANGED_SECONDS if unchanged else max(FRESH_SECONDS, 0.9 * self._interval)
            if self._newest is not None and self._clock() - self._newest[0] < fresh:
                return self._newest[1]
            threads = None if self._newest is None else self._again
            snapshot = await asyncio.get_running_loop().run_in_executor(threads, self._look)
            self._marked = mark
            self._newest = (self._clock(), snapshot)
            return snapshot

    @property
    def _is_settled(self) -> bool:
        """Whether every part answers, or has been away for so long that it is not looked for every second."""
        return not self._away or self._clock() - self._away_since >= SETTLES_SECONDS

    def _look(self) -> Snapshot:
        page = self.view.snapshot()
        away = frozenset(page.away)
        if away != self._away:
            self._away, self._away_since = away, self._clock()
        body = orjson.dumps(page, default=_plain, option=orjson.OPT_NON_STR_KEYS)
        return Snapshot(body, hashlib.sha256(body).hexdigest()[:16])

    async def stream(self, may_go_on: Callable[[], Awaitable[bool]] | None = None) -> AsyncIterator[bytes]:
        """Server-Sent Events: `snapshot` when something changed, `away` when the system cannot be looked at.

        `alive` breaks a long silence. It ends, by `locked`, when `may_go_on` says no: the reader may no longer
        see the system, or the view is no longer the system's.
        """
        told, quiet_since = "", time.monotonic()
        yield b"retry: 1000\n\n"
        while True:
            try:
                if may_go_on is not None and not await may_go_on():
                    yield b"event: locked\ndata: {}\n\n"
                    return
                snapshot = await self.newest()
                kind, digest, body = b"snapshot", snapshot.digest, snapshot.body
            except Exception as error:
                body = orjson.dumps({"reason": str(error) or type(error).__name__})
                kind, digest = b"away", f"away {error}"
            if digest != told:
                told, quiet_since = digest, time.monotonic()
                yield b"event: " + kind + b"\ndata: " + body + b"\n\n"
            elif time.monotonic() - quiet_since > HEARTBEAT_SECONDS:
                quiet_since = time.monotonic()
                yield b"event: alive\ndata: {}\n\n"
            await asyncio.sleep(self._interval)


def _plain(value: object) -> object:
    """Value for a type that orjson does not know: durations as seconds."""
    seconds = getattr(value, "total_seconds", None)
    if seconds is None:
        raise TypeError(type(value).__name__)
    return seconds()
