"""A client of the gateway that keeps many connections busy and judges every answer."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
import uvloop

DEADLINE_SECONDS = 5.0
"""Seconds after which a request without a good answer has failed."""


@dataclass(frozen=True)
class Prediction:
    """One request as the client sends it."""

    body: bytes
    key: str
    """Sticky key; empty for none."""
    event_time: str
    """Event time as RFC 3339."""


@dataclass
class Answered:
    """What became of the requests that were sent."""

    sent: int = 0
    failed: int = 0
    failures: list[str] = field(default_factory=list)
    """The first few reasons."""

    def add(self, other: Answered) -> None:
        self.sent += other.sent
        self.failed += other.failed
        self.failures = (self.failures + other.failures)[:20]


class GatewayClient:
    """Sends predictions through the gateway; never retries, so a failure is one that a user would have seen."""

    def __init__(self, base_url: str, *, connections: int) -> None:
        self._url = f"{base_url}/predict"
        self._connections = connections
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._session: aiohttp.ClientSession | None = None

    def send(
        self, predictions: Iterable[Prediction], *, stop: Callable[[], bool] = lambda: False
    ) -> Answered:
        """Send them all over `connections` connections at once and wait for every answer; `stop` ends early."""
        return self._runner.run(self._send(predictions, stop))

    def close(self) -> None:
        if self._session is not None:
            self._runner.run(self._session.close())
        self._runner.close()

    async def _send(self, predictions: Iterable[Prediction], stop: Callable[[], bool]) -> Answered:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=30),
                timeout=aiohttp.ClientTimeout(total=DEADLINE_SECONDS),
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
            )
        queue = iter(predictions)
        answered = Answered()

        async def work(session: aiohttp.ClientSession) -> None:
            for prediction in queue:
                if stop():
                    return
                reason = await self._ask(session, prediction)
                answered.sent += 1
                if reason is not None:
                    answered.failed += 1
                    if len(answered.failures) < 20:
                        answered.failures.append(reason)

        await asyncio.gather(*itertools.starmap(work, [(self._session,)] * self._connections))
        return answered

    async def _ask(self, session: aiohttp.ClientSession, prediction: Prediction) -> str | None:
        """None for a good answer, else what was wrong with it."""
        headers = {"content-type": "application/json", "x-capstan-event-time": prediction.event_time}
        if prediction.key:
            headers["x-capstan-key"] = prediction.key
        try:
            async with session.post(self._url, data=prediction.body, headers=headers) as response:
                body = await response.read()
                if response.status != 200:
                    return f"status {response.status}: {body[:200].decode(errors='replace')}"
                answers = orjson.loads(body)["predictions"]
                if not answers or not all(isinstance(one, dict) and _is_sound(one) for one in answers):
                    return f"not a finite prediction: {body[:200].decode(errors='replace')}"
                return None
        except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError, LookupError, TypeError) as error:
            return f"{type(error).__name__}: {error}"


def _is_sound(answer: Mapping[str, Any]) -> bool:
    """Whether the answer says something, and every number of it is finite; null is what JSON makes of NaN."""
    values = [
        value for one in answer.values() for value in (one.values() if isinstance(one, dict) else (one,))
    ]
    return bool(values) and all(
        math.isfinite(value) if isinstance(value, int | float) else value is not None for value in values
    )
