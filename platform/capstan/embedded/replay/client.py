"""A client of the gateway that keeps many connections busy and judges every answer."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import orjson
import uvloop

from capstan.embedded.replay.connections import Connections

DEADLINE_SECONDS = 5.0
"""Seconds after which a request without a good answer has failed."""
STOP_SECONDS = 0.1
"""Most seconds between a wish to stop and its being seen while nothing is due."""


@dataclass(frozen=True)
class Prediction:
    """One request as the client sends it."""

    body: bytes
    key: str
    """Sticky key; empty for none."""
    event_time: str
    """Event time as RFC 3339; empty: the moment of the request."""
    request_id: str = ""
    """Empty: the gateway names it, as it does for all but a replay."""


@dataclass(frozen=True)
class Answer:
    """What came back of one request."""

    problem: str | None
    """None: a good answer."""
    version: str = ""
    request_id: str = ""
    predictions: Sequence[Mapping[str, Any]] = ()


class Planned(Protocol):
    """A request with the moment at which it is to be sent."""

    @property
    def due(self) -> float:
        """Seconds after the start."""
        ...

    @property
    def prediction(self) -> Prediction: ...


P = TypeVar("P", bound=Planned)


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
        self._connections = Connections(f"{base_url}/predict", deadline_seconds=DEADLINE_SECONDS)
        self._most = connections
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)

    def send(
        self, predictions: Iterable[Prediction], *, stop: Callable[[], bool] = lambda: False
    ) -> Answered:
        """Send them all over `connections` connections at once and wait for every answer; `stop` ends early."""
        return self._runner.run(self._send(predictions, stop))

    def send_when_due(
        self,
        planned: Iterable[P],
        tell: Callable[[P, Answer, float], None],
        *,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Send each request when it is due, whether or not earlier ones were answered; `stop` ends early.

        `tell` gets each request with its answer and its seconds, which count from the moment at which it was due: a
        request that waits for one of the `connections` is as late for its user as one that waits in the gateway. One
        that has waited for DEADLINE_SECONDS is not sent, and has failed.
        """
        self._runner.run(self._send_when_due(planned, tell, stop))

    def close(self) -> None:
        self._connections.close()
        self._runner.close()

    async def _send(self, predictions: Iterable[Prediction], stop: Callable[[], bool]) -> Answered:
        queue = iter(predictions)
        answered = Answered()

        async def work() -> None:
            for prediction in queue:
                if stop():
                    return
                answer = await self._ask(prediction)
                answered.sent += 1
                if answer.problem is not None:
                    answered.failed += 1
                    if len(answered.failures) < 20:
                        answered.failures.append(answer.problem)

        await asyncio.gather(*(work() for _ in range(self._most)))
        return answered

    async def _send_when_due(
        self, planned: Iterable[P], tell: Callable[[P, Answer, float], None], stop: Callable[[], bool]
    ) -> None:
        free = asyncio.Semaphore(self._most)
        start = time.monotonic()

        async def ask(request: P) -> None:
            try:
                answer = await self._ask(request.prediction)
            finally:
                free.release()
            tell(request, answer, time.monotonic() - start - request.due)

        async with asyncio.TaskGroup() as group:
            for request in planned:
                while (early := start + request.due - time.monotonic()) > 0 and not stop():
                    await asyncio.sleep(min(early, STOP_SECONDS))
                if stop():
                    return
                try:
                    async with asyncio.timeout(max(0.0, early + DEADLINE_SECONDS)):
                        await free.acquire()
                except TimeoutError:
                    busy = f"not sent: all {self._most} connections were busy for {DEADLINE_SECONDS:g} s"
                    tell(request, Answer(busy), time.monotonic() - start - request.due)
                else:
                    group.create_task(ask(request))

    async def _ask(self, prediction: Prediction) -> Answer:
        headers = {"content-type": "application/json"}
        if prediction.event_time:
            headers["x-capstan-event-time"] = prediction.event_time
        if prediction.request_id:
            headers["x-request-id"] = prediction.request_id
        if prediction.key:
            headers["x-capstan-key"] = prediction.key
        try:
            status, body = await self._connections.post(headers, prediction.body)
            if status != 200:
                return Answer(f"status {status}: {body[:200].decode(errors='replace')}")
            document = orjson.loads(body)
            answers = document["predictions"]
            if not answers or not all(isinstance(one, dict) and _is_sound(one) for one in answers):
                return Answer(f"not a finite prediction: {body[:200].decode(errors='replace')}")
            return Answer(
                None, str(document.get("version", "")), str(document.get("request_id", "")), answers
            )
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            return Answer(f"{type(error).__name__}: {error}")


def _is_sound(answer: Mapping[str, Any]) -> bool:
    """Whether the answer says something, and every number of it is finite; null is what JSON makes of NaN."""
    values = [
        value for one in answer.values() for value in (one.values() if isinstance(one, dict) else (one,))
    ]
    return bool(values) and all(
        math.isfinite(value) if isinstance(value, int | float) else value is not None for value in values
    )
