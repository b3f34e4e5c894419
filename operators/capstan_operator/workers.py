"""A few threads that look at the systems of a queue."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeAlias

from capstan.errors import CapstanError
from capstan_operator.metrics import Metrics
from capstan_operator.queue import KeyQueue

logger = logging.getLogger(__name__)

Key: TypeAlias = tuple[str, str]
"""(namespace, system)."""
_IDLE_SECONDS = 30.0


class Workers:
    """Takes due keys and looks at them; safe to be told about keys from any thread."""

    def __init__(
        self,
        look: Callable[[Key], float | None],
        metrics: Metrics,
        *,
        threads: int = 8,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`look` returns after how many seconds to look again, None: only when something happens."""
        self._look = look
        self._metrics = metrics
        self._clock = clock
        self._queue: KeyQueue[Key] = KeyQueue()
        self._changed = threading.Condition()
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._run, name=f"worker-{number}", daemon=True)
            for number in range(threads)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def add(self, key: Key, after: float = 0.0) -> None:
        """Something happened to the system."""
        with self._changed:
            self._queue.add(key, now=self._clock(), after=after)
            self._changed.notify()

    def hint(self, key: Key) -> None:
        """Look now: somebody waits for it."""
        with self._changed:
            self._queue.hint(key, now=self._clock())
            self._changed.notify()

    def forget(self, key: Key) -> None:
        """The system is gone."""
        with self._changed:
            self._queue.forget(key)

    def stop(self, seconds: float) -> bool:
        """Take no more keys and wait for the running looks; False if some still run after `seconds`."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        deadline = self._clock() + seconds
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - self._clock()))
        return not any(thread.is_alive() for thread in self._threads)

    def note_depth(self) -> None:
        """Bring the gauges of the queue up to date."""
        with self._changed:
            now = self._clock()
            self._metrics.note_queue(
                depth=self._queue.depth(now=now),
                waiting=self._queue.waiting(),
                running=len(self._queue.running()),
                resting=self._queue.resting(),
            )

    def longest_look_seconds(self) -> float:
        """For how long the oldest running look has been running."""
        with self._changed:
            since = min(self._queue.running().values(), default=None)
            return 0.0 if since is None else self._clock() - since

    def dead(self) -> list[str]:
        """Names of threads that have ended though they should not."""
        return [] if self._stopping else [thread.name for thread in self._threads if not thread.is_alive()]

    def _run(self) -> None:
        while (key := self._take()) is not None:
            self._look_at(key)

    def _take(self) -> Key | None:
        """The next due key, waited for; None: stop."""
        with self._changed:
            while not self._stopping:
                key = self._queue.take(now=self._clock())
                if key is not None:
                    return key
                due = self._queue.next_due()
                wait = _IDLE_SECONDS if due is None else max(0.0, due - self._clock())
                self._changed.wait(min(wait, _IDLE_SECONDS))
        return None

    def _look_at(self, key: Key) -> None:
        started = self._clock()
        try:
            after = self._look(key)
        except Exception as error:
            # A defect in the look at one system must not end the thread or stop the other systems.
            with self._changed:
                seconds = self._queue.failed(key, now=self._clock())
                self._changed.notify()
            self._metrics.note_error(error)
            logger.warning(
                "%s/%s: %s; looking again in %.0f s",
                *key,
                error,
                seconds,
                exc_info=None if isinstance(error, CapstanError) else error,
            )
        else:
            with self._changed:
                self._queue.done(key, now=self._clock(), after=after)
                self._changed.notify()
        finally:
            self._metrics.note_look(self._clock() - started)
