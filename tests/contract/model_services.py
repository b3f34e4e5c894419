"""Model services that behave as told, and clients that count what they are answered: the world around a gateway."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiohttp
from aiohttp import web

from capstan.adapters.processes.children import free_port
from capstan.ports.serving import Endpoint

T = TypeVar("T")


class EventLoop:
    """One event loop in a thread, for all services and clients of a test."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def start(self, work: Awaitable[T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self.loop)  # type: ignore[arg-type]

    def run(self, work: Awaitable[T], timeout: float = 60.0) -> T:
        return self.start(work).result(timeout)

    async def _cancel(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def close(self) -> None:
        self.run(self._cancel())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


@dataclass
class Service:
    """A model service that behaves as told and remembers what it saw."""

    name: str
    loop: EventLoop
    behaviour: str = "answers"
    ready: bool = True
    port: int = 0
    seen: list[Mapping[str, str]] = field(default_factory=list)
    runner: web.AppRunner | None = None

    async def predict(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        self.seen.append({**request.headers, ":host": request.host})
        if self.behaviour == "raises":
            raise web.HTTPInternalServerError
        if self.behaviour == "hangs":
            await asyncio.sleep(60)
        if self.behaviour == "slow":
            await asyncio.sleep(0.7)
        if self.behaviour == "resets" and request.transport is not None:
            request.transport.abort()
        if self.behaviour == "refuses":
            return web.json_response({"error": {"field": "distance"}}, status=422)
        return web.json_response({"version": self.name})

    async def health(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({}, status=200 if self.ready else 503)

    async def _serve(self) -> None:
        app = web.Application(client_max_size=8 << 20)
        app.router.add_get("/v2/health/ready", self.health)
        app.router.add_get("/v2/models/{name}", self.health)
        for path in ("/predict", "/v2/models/{name}/infer", "/feedback", "/events", "/webhooks/{sender}"):
            app.router.add_post(path, self.predict)
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", self.port).start()

    def start(self) -> Service:
        self.port = self.port or free_port()
        self.loop.run(self._serve())
        return self

    def stop(self) -> None:
        if self.runner is not None:
            self.loop.run(self.runner.cleanup())
            self.runner = None

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint("127.0.0.1", self.port)


@dataclass
class Answers:
    statuses: Counter[int] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    by_key: dict[str, str] = field(default_factory=dict)
    slowest: float = 0.0

    @property
    def failed(self) -> int:
        return sum(count for status, count in self.statuses.items() if status != 200)


@dataclass(frozen=True)
class Load:
    """Requests that go on until they are asked to end."""

    done: threading.Event
    answers: Future[Answers]

    def end(self) -> Answers:
        self.done.set()
        return self.answers.result(30)


class Clients:
    """Connections to what answers at some addresses; each stays where it is until it is told to close."""

    def __init__(self, loop: EventLoop, addresses: Callable[[], Sequence[str]]) -> None:
        self.loop = loop
        self.addresses = addresses

    def start(self, **more: Any) -> Load:
        """Requests without end, in the background."""
        done = threading.Event()
        return Load(done, self.loop.start(self._send(1_000_000_000, until=done, **more)))

    def send(self, count: int = 200, **more: Any) -> Answers:
        return self.loop.run(self._send(count, **more), 120.0)

    async def _send(
        self,
        count: int,
        *,
        keyed: bool = False,
        path: str = "/predict",
        body: bytes = b"{}",
        connections: int = 16,
        headers: Mapping[str, str] | None = None,
        until: threading.Event | None = None,
        pause: float = 0.0,
    ) -> Answers:
        answers = Answers()
        numbers = iter(range(count))
        turns = itertools.count()

        def address() -> str:
            found = self.addresses()
            return found[next(turns) % len(found)]

        async def client(session: aiohttp.ClientSession) -> None:
            here = address()
            for number in numbers:
                if until is not None and until.is_set():
                    return
                key = {"x-capstan-key": f"tail-{number}"} if keyed else {}
                started = time.monotonic()
                try:
                    sent = session.post(here + path, data=body, headers={**key, **(headers or {})})
                    async with sent as answer:
                        answers.statuses[answer.status] += 1
                        if answer.headers.get("connection") == "close":
                            here = address()
                        if answer.status == 200:
                            version = (await answer.json())["version"]
                            answers.versions[version] += 1
                            answers.by_key[f"tail-{number}"] = version
                except aiohttp.ClientError:
                    answers.statuses[0] += 1
                    here = address()
                answers.slowest = max(answers.slowest, time.monotonic() - started)
                if pause:
                    await asyncio.sleep(pause)

        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*(client(session) for _ in range(connections)))
        return answers
