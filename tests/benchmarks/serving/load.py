"""Sends the same request over a number of kept-alive connections for some seconds, one at a time on each.

A closed loop: latencies are what a waiting client sees. Written on asyncio's protocols, because a client library costs
more than the servers measured here. `load.py PORT PATH CONNECTIONS SECONDS WARM_UP_SECONDS < BODY` prints JSON.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from dataclasses import dataclass, field
from typing import cast

import orjson
import uvloop

STALL_SECONDS = 0.05


@dataclass
class Measured:
    latencies: list[float] = field(default_factory=list)
    """Seconds, of answers with status 200."""
    failures: int = 0
    """Other answers, and connections that the server closed."""
    seconds: float = 0.0

    def summary(self) -> dict[str, float]:
        ordered = sorted(self.latencies)
        count = len(ordered)

        def quantile(share: float) -> float:
            return ordered[min(int(share * count), count - 1)] * 1000 if count else float("nan")

        return {
            "rps": count / self.seconds,
            "p50_ms": quantile(0.5),
            "p99_ms": quantile(0.99),
            "max_ms": quantile(1.0),
            "stalls": sum(latency > STALL_SECONDS for latency in ordered),
            "failures": self.failures,
        }


class Connection(asyncio.Protocol):
    """Sends the next request when the last is answered."""

    def __init__(self, request: bytes, until: float, measured: Measured, done: asyncio.Future[None]) -> None:
        self._request, self._until, self._measured, self._done = request, until, measured, done
        self._buffer = b""
        self._finished = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found or len(body) < _length(head):
            return
        now = time.perf_counter()
        self._buffer = b""
        if head.startswith(b"HTTP/1.1 200"):
            self._measured.latencies.append(now - self._sent)
        else:
            self._measured.failures += 1
        if now < self._until:
            self._send()
        else:
            self._finished = True
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._measured.failures += not self._finished
        if not self._done.done():
            self._done.set_result(None)


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise ValueError(f"an answer without content-length can't be read here: {head!r}")


async def measure(port: int, path: str, body: bytes, connections: int, seconds: float) -> Measured:
    """Load 127.0.0.1:port; raises OSError if it does not listen."""
    lines = (
        f"POST {path} HTTP/1.1",
        "host: bench",
        "content-type: application/json",
        f"content-length: {len(body)}",
    )
    request = "\r\n".join((*lines, "", "")).encode() + body
    loop = asyncio.get_running_loop()
    measured = Measured()
    started = time.perf_counter()
    futures = []
    for _ in range(connections):
        done = loop.create_future()
        futures.append(done)
        await loop.create_connection(
            lambda done=done: Connection(request, started + seconds, measured, done), "127.0.0.1", port
        )
    await asyncio.gather(*futures)
    measured.seconds = time.perf_counter() - started
    return measured


async def warmed_up(
    port: int, path: str, body: bytes, connections: int, seconds: float, warm_up: float
) -> dict[str, float]:
    """What was measured after the warm-up, and how many requests there were in all."""
    before = await measure(port, path, body, connections, warm_up)
    measured = await measure(port, path, body, connections, seconds)
    sent = sum(len(part.latencies) + part.failures for part in (before, measured))
    return {**measured.summary(), "failures": before.failures + measured.failures, "sent": sent}


def main() -> None:
    port, path, connections, seconds, warm_up = sys.argv[1:]
    # The client's own collections would be seen as stalls of the server.
    gc.disable()
    told = uvloop.run(
        warmed_up(int(port), path, sys.stdin.buffer.read(), int(connections), float(seconds), float(warm_up))
    )
    print(orjson.dumps(told).decode())


if __name__ == "__main__":
    main()
