"""Asks an Alertmanager what fires, once for all the systems that want to know at about the same time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx

from capstan.errors import UnavailableError
from capstan.outages import in_words

PART = "Alertmanager"
SHARED_SECONDS = 3.0
"""Seconds for which an operator shares one answer among its systems."""


class AlertPoller:
    """Every alert of an Alertmanager. Threads may share it: while one asks, the others wait for its answer."""

    def __init__(
        self,
        address: str,
        *,
        max_age_seconds: float = 0.0,
        timeout_seconds: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`max_age_seconds`: how long an answer, or that there was none, holds for others; 0: for nobody."""
        self._client = httpx.Client(base_url=address, timeout=timeout_seconds, trust_env=False)
        self._max_age = max_age_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[bool, tuple[float, list[dict[str, Any]] | UnavailableError]] = {}

    def alerts(self, *, silenced: bool = False) -> Sequence[dict[str, Any]]:
        """What fires now, with what somebody has silenced or without; raises UnavailableError."""
        with self._lock:
            told = self._known.get(silenced)
            if told is None or self._clock() - told[0] >= self._max_age:
                answer = self._ask(silenced=silenced)
                # The time is taken after the answer: callers that waited for a slow Alertmanager do not ask again.
                told = self._known[silenced] = (self._clock(), answer)
        if isinstance(told[1], UnavailableError):
            raise UnavailableError(told[1].part, told[1].reason)
        return told[1]

    def forget(self) -> None:
        """Ask anew at the next look: a notification says that something has changed."""
        with self._lock:
            self._known.clear()

    def close(self) -> None:
        self._client.close()

    def _ask(self, *, silenced: bool) -> list[dict[str, Any]] | UnavailableError:
        flag = str(silenced).lower()
        try:
            answer = self._client.get(
                "/api/v2/alerts", params={"active": "true", "silenced": flag, "inhibited": flag}
            )
            answer.raise_for_status()
            entries: list[dict[str, Any]] = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            return UnavailableError(PART, in_words(error, PART))
        return entries
